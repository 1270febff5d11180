//! Texts of what stands before a handler in Azure: Functions host, App Service, Application Gateway, Front Door. The host's
//! are read in its source; the pages in Microsoft's documentation and in captured answers (`docs/502.md` says which).

use super::{ENTRA_RETRIES, MAYBE_DONE, MAYBE_PROCESSED, NOT_DONE, WAIT};
use crate::explain::{
    cause::{
        Author::{AppService, ApplicationGateway, FrontDoor, FunctionsHost, Proxy},
        Cause, Form, Reached, Sign, says,
    },
    query::Query,
};

const RESTARTED: &str = "\
    Look for restarts, deployments and scaling at that time; then at the host's own log for the last lines of the handler.";
const FIREWALL_RULE: &str = "\
    Find the rule in the firewall's log and exempt the Tenant URL from it: SCIM filters and JSON look like injections to generic \
    rules. Names of people trigger them too, which is why only some users fail.";
const NOT_PROCESSED: &str = "This request was not processed, so nothing is half done.";
const BLOCKED: &str = "Entra repeats it in later cycles, and it fails each time until the rule is changed.";

pub(in crate::explain) const CAUSES: &[Cause] = &[
    Cause {
        name: "functions-not-running",
        author: FunctionsHost,
        signs: &[says(&["function host is not running"])],
        reached: Reached::No,
        means: "The host was not ready within 30 s: it is starting, or fails to start (settings, a handler that does not listen, \
                three exits of the handler in 30 minutes).",
        excludes: "The handler was not asked.",
        lost: NOT_DONE,
        entra: ENTRA_RETRIES,
        next: RESTARTED,
        queries: &[Query::Restarts, Query::Around],
        customer: [
            "Our application was starting, or did not start, at that time.",
            NOT_PROCESSED,
            WAIT,
        ],
    },
    Cause {
        name: "functions-empty-500",
        author: FunctionsHost,
        signs: &[Sign::Is(Form::Empty, &[500])],
        reached: Reached::Perhaps,
        means: "A 500 without a body is how the Functions host answers whatever fails between it and the handler: the handler \
                was unreachable, crashed, reset the connection, answered malformed HTTP, or took longer than the function may; \
                also a body over 100 MiB.",
        excludes: "Not scimgate's own answer (its 500 is JSON with a Reference), and not the platform's front end (it has pages of \
                   its own). If the log merely leaves the body out, none of this holds.",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: "Look for requests that the host had and the handler did not, then for the handler's exits. A request on a \
               connection that the handler was just closing fails like this: keep-alive must outlast the host's 60 s.",
        queries: &[Query::HostOnly, Query::Restarts, Query::Around],
        customer: [
            "The platform got no usable answer from our application and said no more than \"500\".",
            MAYBE_PROCESSED,
            WAIT,
        ],
    },
    Cause {
        name: "functions-unauthorized",
        author: FunctionsHost,
        signs: &[Sign::Is(Form::Empty, &[401])],
        reached: Reached::No,
        means: "A 401 without a body comes from before the handler: the function asks for a key (authLevel is not anonymous), or \
                App Service Authentication is switched on.",
        excludes: "Not a wrong secret token: scimgate's 401 is JSON with a Reference.",
        lost: NOT_DONE,
        entra: "Entra puts the job into quarantine soon when its credentials are refused; after the repair, Restart provisioning.",
        next: "Check authLevel in function.json (it must be anonymous) and the app's Authentication.",
        queries: &[Query::Around],
        customer: [
            "Our platform refused the request before it reached our application.",
            "Your secret token is not the reason.",
            "When we have corrected it, please choose Test Connection, and Restart provisioning if the job is in quarantine.",
        ],
    },
    Cause {
        name: "web-server-502",
        author: AppService,
        signs: &[says(&[
            "web server received an invalid response while acting as a gateway or proxy server",
        ])],
        reached: Reached::Perhaps,
        means: "The page of Microsoft's web server (IIS) as a proxy: App Service's front end, or Application Gateway v1, got no \
                usable answer from what is behind it: it crashed, restarted, closed the connection or took too long.",
        excludes: "Not scimgate's own answer, and not an Envoy.",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: "If an Application Gateway is in use, look at its backend health first. Else: restarts and slow requests.",
        queries: &[Query::Restarts, Query::Load, Query::Around],
        customer: [
            "The front end of our platform got no usable answer from our application's machine.",
            MAYBE_PROCESSED,
            WAIT,
        ],
    },
    Cause {
        name: "app-service-timeout",
        author: AppService,
        signs: &[says(&["500 - the request timed out"])],
        reached: Reached::Perhaps,
        means: "App Service's front end waits 230 s for an answer, and none came.",
        excludes: "Not scimgate's doing if it ran: it answers 503 itself after its deadline (15 s unless set otherwise).",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: "Look whether the request reached the application at all, and for processes that fell silent.",
        queries: &[Query::Around, Query::Restarts, Query::Load],
        customer: [
            "The front end of our platform waited for an answer for more than three minutes.",
            MAYBE_PROCESSED,
            WAIT,
        ],
    },
    Cause {
        name: "app-service-unavailable",
        author: AppService,
        signs: &[says(&["the service is unavailable"])],
        reached: Reached::No,
        means: "Windows' HTTP layer has nothing to give the request to: the application is stopped, restarting, or its worker \
                failed too often.",
        excludes: "Neither host nor handler saw the request.",
        lost: NOT_DONE,
        entra: ENTRA_RETRIES,
        next: RESTARTED,
        queries: &[Query::Restarts, Query::Around],
        customer: ["Our application was not running for a moment.", NOT_PROCESSED, WAIT],
    },
    Cause {
        name: "app-service-application-error",
        author: AppService,
        signs: &[says(&[
            "application error",
            "if you are the application administrator, you can access the diagnostic resources",
        ])],
        reached: Reached::No,
        means: "App Service on Linux could not start the application's container, or nothing in it listens.",
        excludes: "Neither host nor handler saw the request.",
        lost: NOT_DONE,
        entra: ENTRA_RETRIES,
        next: RESTARTED,
        queries: &[Query::Restarts],
        customer: [
            "Our application could not be started at that time.",
            NOT_PROCESSED,
            WAIT,
        ],
    },
    Cause {
        name: "app-service-process-ended",
        author: AppService,
        signs: &[says(&["the specified cgi application encountered an error"])],
        reached: Reached::Perhaps,
        means: "On Windows plans, the process behind IIS ended or did not start.",
        excludes: "Not a network fault.",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: RESTARTED,
        queries: &[Query::Restarts, Query::Around],
        customer: [
            "The process of our application ended at that time.",
            MAYBE_PROCESSED,
            WAIT,
        ],
    },
    Cause {
        name: "app-service-stopped",
        author: AppService,
        signs: &[
            says(&["this web app is stopped"]),
            says(&["web app is currently stopped"]),
        ],
        reached: Reached::No,
        means: "The app is stopped: by hand, by a spending limit, or by a used-up quota.",
        excludes: "Not a crash: nothing was started.",
        lost: NOT_DONE,
        entra: ENTRA_RETRIES,
        next: "Open the app in the Azure portal: is it stopped, is a quota used up, is the subscription disabled?",
        queries: &[],
        customer: ["Our application was switched off at that time.", NOT_PROCESSED, WAIT],
    },
    Cause {
        name: "app-service-no-site",
        author: AppService,
        signs: &[says(&["404 web site not found"])],
        reached: Reached::No,
        means: "App Service knows no app with this host name: the name is not bound to the app, or its DNS record is old.",
        excludes: "The application was not asked; it is not a missing user.",
        lost: NOT_DONE,
        entra: "A 404 to a look-up of a user may be taken for \"no such user\": stop provisioning until the name is right.",
        next: "Check the app's custom domains and the DNS record of the host name in the Tenant URL.",
        queries: &[],
        customer: [
            "The host name in your Tenant URL led nowhere at that time.",
            "Please stop provisioning until we write again, so that no account is created twice.",
            "You need not change the Tenant URL.",
        ],
    },
    Cause {
        name: "application-gateway-502",
        author: ApplicationGateway,
        signs: &[says(&["microsoft-azure-application-gateway", "502 bad gateway"])],
        reached: Reached::Perhaps,
        means: "Application Gateway has no healthy backend, could not connect to it (name, port, certificate), or got no usable \
                answer.",
        excludes: "Not the application's answer, and not the firewall (that is 403).",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: "Look at Backend health in the portal; then whether the request reached the application.",
        queries: &[Query::Around, Query::Restarts],
        customer: [
            "The gateway in front of our application got no usable answer from it.",
            MAYBE_PROCESSED,
            WAIT,
        ],
    },
    Cause {
        name: "application-gateway-504",
        author: ApplicationGateway,
        signs: &[says(&["microsoft-azure-application-gateway", "504 gateway time-out"])],
        reached: Reached::Perhaps,
        means: "The backend did not answer within the gateway's request time-out (20 s unless set otherwise).",
        excludes: "Not the firewall, and not a refused connection.",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: "Look for slow requests. The time-out must be longer than scimgate's deadline (15 s unless set otherwise).",
        queries: &[Query::Load, Query::Around, Query::Restarts],
        customer: [
            "The gateway in front of our application waited too long for an answer.",
            MAYBE_PROCESSED,
            WAIT,
        ],
    },
    Cause {
        name: "application-gateway-firewall",
        author: ApplicationGateway,
        signs: &[says(&["microsoft-azure-application-gateway", "403 forbidden"])],
        reached: Reached::No,
        means: "Application Gateway's web application firewall blocked the request: something in it looks like an attack to a rule.",
        excludes: "Not a wrong token, and not the application: it was not asked.",
        lost: NOT_DONE,
        entra: BLOCKED,
        next: FIREWALL_RULE,
        queries: &[Query::GatewayFirewall],
        customer: [
            "A firewall rule on our side mistook the request for an attack.",
            NOT_PROCESSED,
            "We are changing the rule; Entra repeats the change by itself afterwards.",
        ],
    },
    Cause {
        name: "application-gateway-other",
        author: ApplicationGateway,
        signs: &[Sign::Says {
            all: &["microsoft-azure-application-gateway"],
            none: &["502 bad gateway", "504 gateway time-out", "403 forbidden"],
        }],
        reached: Reached::No,
        means: "Application Gateway refused the request itself; the title of the page says why (a missing client certificate, a \
                body or header that is too large, an unknown host name).",
        excludes: "The application was not asked.",
        lost: NOT_DONE,
        entra: ENTRA_RETRIES,
        next: "Read the page's title and look at the gateway's listener and firewall limits.",
        queries: &[Query::Around],
        customer: [
            "The gateway in front of our application refused the request.",
            NOT_PROCESSED,
            WAIT,
        ],
    },
    Cause {
        name: "front-door-unavailable",
        author: FrontDoor,
        signs: &[says(&["our services aren't available right now"])],
        reached: Reached::Perhaps,
        means: "Front Door could not get an answer from its origin, has no route for this host name, or is disturbed itself.",
        excludes: "Not the application's answer.",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: "Look at the origin's health and the route of this host name, then at Azure's status page. The page's \"Azure ref\" \
               finds the request in Front Door's log.",
        queries: &[Query::Around, Query::Restarts],
        customer: [
            "Microsoft's network in front of our application got no answer to pass on.",
            MAYBE_PROCESSED,
            WAIT,
        ],
    },
    Cause {
        name: "front-door-firewall",
        author: FrontDoor,
        signs: &[
            says(&["the request is blocked"]),
            says(&["this request has been denied by the firewall"]),
        ],
        reached: Reached::No,
        means: "Front Door's web application firewall blocked the request: something in it looks like an attack to a rule.",
        excludes: "Not a wrong token, and not the application: it was not asked.",
        lost: NOT_DONE,
        entra: BLOCKED,
        next: FIREWALL_RULE,
        queries: &[Query::FrontDoorFirewall],
        customer: [
            "A firewall rule on our side mistook the request for an attack.",
            NOT_PROCESSED,
            "We are changing the rule; Entra repeats the change by itself afterwards.",
        ],
    },
    Cause {
        name: "nginx",
        author: Proxy,
        signs: &[says(&["<center>nginx"])],
        reached: Reached::Perhaps,
        means: "An nginx on the way, or an ingress that is made of one, wrote its own error page: with 502 it got no usable answer, with \
                503 it had nobody to ask, with 504 it waited too long, with 413 the body was too large for it.",
        excludes: "Not the application's answer.",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: "Find out whose nginx it is: a tunnel, an ingress, the customer's own way out. Its error log has the reason.",
        queries: &[Query::Around, Query::Restarts],
        customer: [
            "A proxy between Microsoft Entra and our application answered in our place.",
            MAYBE_PROCESSED,
            WAIT,
        ],
    },
];
