"""scim2-client provisions a directory as a real peer: 200 users and 20 groups, from their creation to their end.

The models come from the service's own /Schemas, and scim2-models validates every answer: an unknown attribute, a wrong
type or a missing member of an answer is an exception. What is checked here is the content.
"""

import traceback

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import BulkRequest, NotFoundException, PatchOp, PreconditionFailedException, SearchRequest
from scim2_models import UniquenessException

USERS = 200
GROUPS = 20
MEMBERS = USERS // GROUPS
PAGE = 30
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"


def checks(url, token):
    headers = {"Authorization": f"Bearer {token}"}
    with Client(base_url=url, headers=headers, timeout=30) as client:
        peer = Peer(SyncSCIMClient(client))
        for step in Peer.STEPS:
            try:
                step(peer)
                yield step.__name__, None
            except Exception as error:  # whatever a step meets is its result; later steps say what they miss
                answer = getattr(error, "source", None)
                said = "".join(traceback.format_exception(error))
                yield step.__name__, said + str(getattr(answer, "text", answer or ""))


def same(came, expected):
    if came != expected:
        raise AssertionError(f"expected\n  {expected}\ncame\n  {came}")


def holds(came, sent, at=""):
    """An answer has everything that was sent; it may have more."""
    if isinstance(sent, dict) and isinstance(came, dict):
        for name, value in sent.items():
            holds(came.get(name), value, f"{at}/{name}")
    elif came != sent:
        raise AssertionError(f"{at}: sent {sent!r}, came {came!r}")


def user_document(number):
    name = f"user{number:03}@example.com"
    return {
        "schemas": [USER, ENTERPRISE],
        "externalId": f"external-{number:03}",
        "userName": name,
        "name": {"givenName": "Given", "familyName": f"Family {number:03}"},
        "displayName": f"Given Family {number:03}",
        "active": True,
        "emails": [{"value": name, "type": "work", "primary": True}, {"value": f"home.{name}", "type": "home"}],
        "phoneNumbers": [{"value": f"tel:+1-555-0{number:03}", "type": "mobile"}],
        ENTERPRISE: {"employeeNumber": str(number), "department": f"Department {number % 4}"},
    }


class Peer:
    def __init__(self, scim):
        self.scim = scim
        self.users = []
        self.groups = []

    def patch(self, target, *operations):
        patch = PatchOp[type(target)].model_validate({"Operations": list(operations)})
        return self.scim.modify(target, patch)

    def find(self, model, **parameters):
        return self.scim.query(model, SearchRequest[model].model_validate(parameters))

    def found(self, model, **parameters):
        return [resource.id for resource in self.find(model, **parameters).resources]

    def the_service_describes_itself(self):
        self.scim.discover()
        self.User, self.Group = (self.scim.get_resource_model(name) for name in ("User", "Group"))
        assert self.User and self.Group, "there are no users, or no groups"
        config = self.scim.provider.config
        offers = {name: getattr(config, name).supported for name in ("patch", "bulk", "filter", "sort", "etag")}
        same(offers, dict.fromkeys(offers, True))
        pagination = config.pagination.model_dump()
        same((pagination["cursor"], pagination["index"]), (True, True))

    def users_are_created(self):
        for number in range(USERS):
            sent = user_document(number)
            user = self.scim.create(self.User.model_validate(sent))
            self.users.append(user)
            holds(user.model_dump(), sent)

    def a_taken_name_is_refused(self):
        try:
            self.scim.create(self.User.model_validate({"schemas": [USER], "userName": "USER000@example.com"}))
        except UniquenessException:
            return
        raise AssertionError("a second user has the name of the first")

    def groups_are_created_with_their_members(self):
        for number in range(GROUPS):
            members = [{"value": user.id, "type": "User"} for user in self.members_of(number)]
            sent = {"schemas": [GROUP], "externalId": f"group-{number}", "displayName": f"Group {number:02}"}
            group = self.scim.create(self.Group.model_validate({**sent, "members": members}))
            self.groups.append(group)
            holds(group.model_dump(), sent)
            self.has_members(group, self.members_of(number))

    def members_of(self, number):
        return self.users[number * MEMBERS:(number + 1) * MEMBERS]

    def has_members(self, group, users):
        came = {(member.value, member.type, member.ref) for member in group.members or []}
        same(came, {(user.id, "User", user.meta.location) for user in users})

    def what_was_created_is_read_back(self):
        for number, group in enumerate(self.groups):
            came = self.scim.query(self.Group, group.id)
            same((came.display_name, came.meta), (group.display_name, group.meta))
            self.has_members(came, self.members_of(number))
            for user in self.members_of(number):
                came = self.scim.query(self.User, user.id)
                holds(came.model_dump(), user.model_dump())
                same([(entry.value, entry.display, entry.ref) for entry in came.groups],
                     [(group.id, group.display_name, group.meta.location)])

    def what_did_not_change_is_not_sent_again(self):
        user = self.users[0]
        assert self.scim.query(user) is user, "a conditional read was not answered 304"

    def users_are_modified(self):
        manager = self.users[0]
        for number, user in enumerate(self.users[1:], 1):
            self.users[number] = modified = self.patch(
                user,
                {"op": "replace", "path": "title", "value": f"Title {number}"},
                {"op": "replace", "path": 'emails[type eq "work"].value', "value": f"work{number:03}@example.com"},
                {"op": "remove", "path": 'emails[type eq "home"]'},
                {"op": "add", "path": f"{ENTERPRISE}:manager", "value": {"value": manager.id}},
            )
            email = {"value": f"work{number:03}@example.com", "type": "work", "primary": True}
            wanted = {"title": f"Title {number}", "emails": [email], ENTERPRISE: {"manager": {"value": manager.id}}}
            holds(modified.model_dump(), wanted)
            holds(self.scim.query(self.User, user.id).model_dump(), wanted)

    def a_stale_version_is_refused(self):
        stale = self.scim.query(self.User, self.users[1].id)
        self.users[1] = self.patch(stale, {"op": "replace", "path": "title", "value": "Changed meanwhile"})
        for refused in (lambda: self.patch(stale, {"op": "remove", "path": "title"}), lambda: self.scim.delete(stale)):
            try:
                refused()
            except PreconditionFailedException:
                continue
            raise AssertionError("a write that names an old version was done")

    def users_are_replaced(self):
        for number, user in enumerate(self.users[:50]):
            sent = {**user_document(number), "nickName": f"nick {number}"}
            document = {**sent, "id": user.id, "meta": user.meta.model_dump()}
            self.users[number] = replaced = self.scim.replace(self.User.model_validate(document))
            holds(replaced.model_dump(), sent)
            same((replaced.title, replaced.EnterpriseUser.manager), (None, None))
            holds(self.scim.query(self.User, user.id).model_dump(), sent)

    def members_move(self):
        group, ours, others = self.groups[0], self.members_of(0), self.members_of(1)
        self.groups[0] = self.patch(
            self.scim.query(self.Group, group.id),
            {"op": "replace", "path": "displayName", "value": "Group 00, renamed"},
            {"op": "remove", "path": f'members[value eq "{ours[0].id}"]'},
            {"op": "add", "path": "members", "value": [{"value": user.id} for user in others]},
        )
        for came in (self.groups[0], self.scim.query(self.Group, group.id)):
            same(came.display_name, "Group 00, renamed")
            self.has_members(came, ours[1:] + others)
        same(self.scim.query(self.User, ours[0].id).groups, None)

    def groups_are_replaced(self):
        group, users = self.groups[1], self.members_of(2)
        document = {"schemas": [GROUP], "id": group.id, "displayName": "Group 01, replaced"}
        members = [{"value": user.id} for user in users]
        self.groups[1] = self.scim.replace(self.Group.model_validate({**document, "members": members}))
        came = self.scim.query(self.Group, group.id)
        same((came.display_name, came.external_id), ("Group 01, replaced", None))
        self.has_members(came, users)

    def filters_find_what_they_name(self):
        user, group = self.users[7], self.groups[3]
        for wanted in ('userName eq "USER007@example.com"', 'externalId eq "external-007"', f'id eq "{user.id}"',
                       'emails[type eq "work" and value eq "user007@example.com"]',
                       f'{ENTERPRISE}:employeeNumber eq "7"',
                       'name.familyName eq "family 007" and active eq true and not (nickName eq "nick 8")'):
            same(self.found(self.User, filter=wanted), [user.id])
        for wanted in ('displayName eq "group 03"', 'externalId eq "group-3"',
                       f'id eq "{group.id}" and members eq "{self.members_of(3)[0].id}"'):
            same(self.found(self.Group, filter=wanted), [group.id])
        same(self.find(self.User, filter="title pr", count=0).total_results, USERS - 50)
        same(self.find(self.User, filter='userName eq "nobody"').total_results, 0)

    def attributes_are_chosen(self):
        listed = self.find(self.Group, excluded_attributes=["members"], count=GROUPS)
        same([group.members for group in listed.resources], [None] * GROUPS)
        listed = self.find(self.User, attributes=["userName"], count=USERS)
        same([(user.display_name, user.meta) for user in listed.resources], [(None, None)] * USERS)
        same({user.user_name for user in listed.resources}, {user.user_name for user in self.users})

    def pages_by_index_show_everybody_once(self):
        seen = []
        for start in range(1, USERS + 1, PAGE):
            page = self.find(self.User, start_index=start, count=PAGE)
            same((page.total_results, page.start_index, page.items_per_page), (USERS, start, len(page.resources)))
            seen += [user.id for user in page.resources]
        same(sorted(seen), sorted(user.id for user in self.users))
        same(self.find(self.User, start_index=USERS + 1, count=PAGE).resources or [], [])

    def pages_by_cursor_show_everybody_once(self):
        seen, cursor = [], ""
        while cursor is not None:
            page = self.find(self.User, cursor=cursor, count=PAGE)
            seen += [user.id for user in page.resources]
            cursor = page.next_cursor
        same(sorted(seen), sorted(user.id for user in self.users))

    def lists_are_sorted(self):
        wanted = [user.id for user in sorted(self.users, key=lambda user: user.user_name)]
        same(self.found(self.User, sort_by="userName", count=USERS), wanted)
        same(self.found(self.User, sort_by="userName", sort_order="descending", count=USERS), wanted[::-1])

    def searches_are_posted(self):
        named = SearchRequest.model_validate({"filter": 'displayName eq "Group 05"'})
        same([group.id for group in self.scim.search(self.Group, named).resources], [self.groups[5].id])
        everything = self.scim.search(SearchRequest(filter='meta.resourceType eq "Group"', count=GROUPS))
        same({group.id for group in everything.resources}, {group.id for group in self.groups})

    def a_bulk_request_makes_and_removes(self):
        posts = [{"method": "POST", "path": "/Users", "bulkId": f"u{number}",
                  "data": {"schemas": [USER], "userName": f"bulk{number}@example.com"}} for number in range(10)]
        members = [{"value": f"bulkId:u{number}"} for number in range(10)]
        posts.append({"method": "POST", "path": "/Groups", "bulkId": "g",
                      "data": {"schemas": [GROUP], "displayName": "Bulk", "members": members}})
        made = self.bulk(posts)
        same([operation.status for operation in made], [201] * 11)
        made = [operation.location.rsplit("/", 2)[1:] for operation in made]
        group = self.scim.query(self.Group, made[-1][1])
        same({member.value for member in group.members}, {id for _, id in made[:-1]})
        gone = self.bulk([{"method": "DELETE", "path": f"/{endpoint}/{id}"} for endpoint, id in made])
        same([operation.status for operation in gone], [204] * 11)

    def bulk(self, operations):
        return self.scim.bulk(BulkRequest[self.User | self.Group].model_validate({"Operations": operations})).operations

    def who_is_deleted_is_gone_everywhere(self):
        user = self.members_of(4)[0]
        self.scim.delete(self.User, user.id)
        self.is_gone(self.User, user.id)
        self.has_members(self.scim.query(self.Group, self.groups[4].id), self.members_of(4)[1:])
        same(self.find(self.User, filter=f'userName eq "{user.user_name}"').total_results, 0)
        self.users.remove(user)

    def is_gone(self, model, id):
        for again in (lambda: self.scim.query(model, id), lambda: self.scim.delete(model, id)):
            try:
                again()
            except NotFoundException:
                continue
            raise AssertionError(f"{id} is still there")

    def groups_and_then_users_are_deleted(self):
        for group in self.groups:
            self.scim.delete(self.Group, group.id)
            self.is_gone(self.Group, group.id)
        same(self.scim.query(self.User, self.users[-1].id).groups, None)
        for user in self.users:
            self.scim.delete(self.User, user.id)
        totals = [self.find(model, count=0).total_results for model in (self.User, self.Group)]
        same(totals, [0, 0])

    STEPS = [
        the_service_describes_itself,
        users_are_created,
        a_taken_name_is_refused,
        groups_are_created_with_their_members,
        what_was_created_is_read_back,
        what_did_not_change_is_not_sent_again,
        users_are_modified,
        a_stale_version_is_refused,
        users_are_replaced,
        members_move,
        groups_are_replaced,
        filters_find_what_they_name,
        attributes_are_chosen,
        pages_by_index_show_everybody_once,
        pages_by_cursor_show_everybody_once,
        lists_are_sorted,
        searches_are_posted,
        a_bulk_request_makes_and_removes,
        who_is_deleted_is_gone_everywhere,
        groups_and_then_users_are_deleted,
    ]
