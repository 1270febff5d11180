"""A SCIM service that others wrote, on an HTTP server that others wrote, for the doctor to look at.

  foreign.py {hypercorn|uvicorn|wsgiref} <token>

It is scim2-server, keeping its users in memory, set to understand what Entra sends. Prints its port.
"""

import asyncio
import sys
from wsgiref.simple_server import make_server

import hypercorn.asyncio
import uvicorn
from scim2_models import ScimPolicy, ScimProvider, UnauthorizedException
from scim2_server.applications.asgi import ASGIApplication
from scim2_server.memory import AsyncInMemoryStorage, InMemoryStorage
from scim2_server.service import ScimService
from scim2_server.testserver.application import BEARER_TOKEN_SCHEME, BearerTokenApplication
from scim2_server.utils import load_default_resource_types, load_default_schemas, load_default_service_provider_config


def provider():
    config = load_default_service_provider_config()
    config.authentication_schemes = [BEARER_TOKEN_SCHEME]
    kinds = (load_default_schemas().values(), load_default_resource_types().values())
    entra = ScimPolicy(unmatched_path_filter="create", remove_value_as_filter="apply")
    return ScimProvider.from_discovery(*kinds, config=config, policy=entra)


def wsgi(token):
    described = provider()
    return BearerTokenApplication(InMemoryStorage(), described, ScimService(described, secret=token), [token])


class Asgi(ASGIApplication):
    def check_auth(self, request):
        if request.header("Authorization") != f"Bearer {self.token}":
            raise UnauthorizedException


def asgi(token):
    described = provider()
    application = Asgi(AsyncInMemoryStorage(), described, ScimService(described, secret=token))
    application.token = token
    return application


def listen(socket):
    socket.listen()
    print(socket.getsockname()[1], flush=True)


def serve_hypercorn(token):
    """h11 and h2, with HTTP/2 on prior knowledge."""
    config = hypercorn.Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = None
    sockets = config.create_sockets()
    listen(sockets.insecure_sockets[0])
    config.create_sockets = lambda: sockets
    asyncio.run(hypercorn.asyncio.serve(wsgi(token), config, mode="wsgi"))


def serve_uvicorn(token):
    """httptools would be an extra: here h11, on asyncio's own loop."""
    config = uvicorn.Config(asgi(token), port=0, log_level="warning")
    socket = config.bind_socket()
    listen(socket)
    uvicorn.Server(config).run(sockets=[socket])


def serve_wsgiref(token):
    """What scim2-server itself starts: it sends a body behind the head that answers a HEAD."""
    with make_server("127.0.0.1", 0, wsgi(token)) as server:
        listen(server.socket)
        server.serve_forever()


if __name__ == "__main__":
    name, secret = sys.argv[1:]
    {"hypercorn": serve_hypercorn, "uvicorn": serve_uvicorn, "wsgiref": serve_wsgiref}[name](secret)
