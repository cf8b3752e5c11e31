"""Attempts and failures: pages, retries, breakers, limits."""

from . import Case, Group


def cases() -> list[Case]:
    group = Group("failure")
    errors = {"status": ["404", "500-599"], "service": "pages", "query": "/{status}.html"}
    for status in (200, 403, 404, 499, 500, 503, 599):
        for method in ("GET", "POST", "HEAD"):
            group.add(f"errors at {status} to {method}", through=[{"errors": errors}], method=method, fields=[("X-Do", f"status={status};set-X-Own=1")], body="content" if method == "POST" else None)
    for query in ("/{status}/{originalStatus}", "{status}", "/p?u={url}", "/", "/a b"):
        said = {**errors, "query": query, "statusRewrites": {"404": 410}}
        group.add(f"errors with the query {query}", through=[{"errors": said}], target="/gone?a=b c".replace(" ", "%20"), fields=[("X-Do", "status=404")])
    for rewrites in ({"500": 501}, {"500-599": 520}, {"404": 500}):
        group.add(f"errors rewritten by {rewrites}", through=[{"errors": {**errors, "statusRewrites": rewrites}}], fields=[("X-Do", "status=500")])
    group.add("errors without a query", through=[{"errors": {"status": ["404"], "service": "pages"}}], fields=[("X-Do", "status=404")])
    group.add("errors with chosen fields", through=[{"errors": {**errors, "errorRequestHeaders": ["X-A"]}}], fields=[("X-Do", "status=404"), ("X-A", "1"), ("X-B", "2")])
    group.add("errors where nobody is there", service="nobody", through=[{"errors": errors}])
    group.add("errors of a service that is not there", through=[{"errors": {**errors, "service": "nowhere"}}])
    group.add("errors around a refusal", through=[{"errors": {"status": ["403"], "service": "pages", "query": "/{status}"}}, {"ipAllowList": {"sourceRange": ["10.0.0.0/8"]}}])
    group.add("errors within a refusal", through=[{"ipAllowList": {"sourceRange": ["10.0.0.0/8"]}}, {"errors": {"status": ["403"], "service": "pages", "query": "/{status}"}}])
    group.add("errors within compress", through=[{"compress": {}}, {"errors": errors}], fields=[("X-Do", "status=404;length=3000"), ("Accept-Encoding", "gzip")])

    group.add("nobody is there", service="nobody")
    group.add("a server that breaks off", fields=[("X-Do", "reset=1")])
    group.add("a server that breaks off on POST", method="POST", body="x", fields=[("X-Do", "reset=1")])
    for options in ({"attempts": 2}, {"attempts": 3, "status": ["503"]}, {"attempts": 2, "status": ["500-599"], "retryNonIdempotentMethod": True}):
        for method in ("GET", "POST"):
            group.add(f"retry {options} of {method}", through=[{"retry": options}], method=method, body="content" if method == "POST" else None, fields=[("X-Do", "status=503")])
    group.add("retry where nobody is there", service="nobody", through=[{"retry": {"attempts": 3}}])
    group.add("retry within a time", through=[{"retry": {"attempts": 2, "timeout": "5s"}}], fields=[("X-Do", "status=503")])
    group.add("retry without attempts", through=[{"retry": {"attempts": 0}}])
    group.add("retry that has no reason", through=[{"retry": {"attempts": 2, "disableRetryOnNetworkError": True}}])

    breaker = {"expression": "ResponseCodeRatio(500, 600, 0, 600) > 0.5", "checkPeriod": "1ms"}
    for options in ({}, {"responseCode": 418}):
        group.add(f"circuitBreaker {options}", through=[{"circuitBreaker": {**breaker, **options}}], fields=[("X-Do", "status=500")], times=4)
    group.add("circuitBreaker of long terms", through=[{"circuitBreaker": {**breaker, "fallbackDuration": "1h", "recoveryDuration": "1h"}}], fields=[("X-Do", "status=500")], times=5)
    group.add("circuitBreaker that stays closed", through=[{"circuitBreaker": breaker}], times=4)
    group.add("circuitBreaker of connections", service="nobody", through=[{"circuitBreaker": {**breaker, "expression": "NetworkErrorRatio() > 0.3"}}], times=4)
    group.add("circuitBreaker of times", through=[{"circuitBreaker": {**breaker, "expression": "LatencyAtQuantileMS(50.0) > 5000"}}], times=4)
    for expression in ("NetworkErrorRatio() > ", "Nothing() > 1", "NetworkErrorRatio()", "", "NetworkErrorRatio() > 0.5 && (LatencyAtQuantileMS(50.0) > 9000 || ResponseCodeRatio(500, 600, 0, 600) > 0.9)"):
        group.add(f"circuitBreaker by `{expression}`", through=[{"circuitBreaker": {"expression": expression}}])

    for options in ({"average": 1, "burst": 2, "period": "1h"}, {"average": 0}, {"average": 1, "period": "1h"}):
        group.add(f"rateLimit {options}", through=[{"rateLimit": options}], times=4)
    group.add("rateLimit by a field", through=[{"rateLimit": {"average": 1, "period": "1h", "sourceCriterion": {"requestHeaderName": "X-Who"}}}], times=3, fields=[("X-Who", "me")])
    who = [("X-Forwarded-For", "192.0.2.1, 192.0.2.2")]
    for criterion in ({"requestHost": True}, {"ipStrategy": {"depth": 1}}, {"ipStrategy": {"depth": 2}}, {"ipStrategy": {"depth": 1, "ipv6Subnet": 64}}, {"ipStrategy": {"excludedIPs": ["192.0.2.2"]}}):
        limited = {"average": 1, "period": "1h", "sourceCriterion": criterion}
        group.add(f"rateLimit by {criterion}", through=[{"rateLimit": limited}], times=3, fields=who)
        group.add(f"inFlightReq by {criterion}", through=[{"inFlightReq": {"amount": 3, "sourceCriterion": criterion}}], times=3, fields=who)
    group.add("inFlightReq of nobody", through=[{"inFlightReq": {"amount": 0}}])
    group.add("inFlightReq of one", through=[{"inFlightReq": {"amount": 1}}], times=3)
    return group.cases
