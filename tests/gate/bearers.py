"""Who shows which token, where Schemathesis tries the gate's API: people who have just been invited, people who have a
place or are in, and people who have given that up.

Named by SCHEMATHESIS_HOOKS; PREAU_API is where the API is, PREAU_SEATS how many may be in, and PREAU_TOLD a
file for the states that people are told.
"""

import itertools
import json
import os
import time
import urllib.error
import urllib.request

import schemathesis

API = os.environ["PREAU_API"]
WITHIN = 10

told = open(os.environ["PREAU_TOLD"], "w", buffering=1)
turns = itertools.count()
# Those who come to stay, as far as nobody gives their place up for them; and which of them asks, if it is one of them.
people = [None] * 8
asking = None


def ask(method, path, token=None):
    request = urllib.request.Request(f"{API}{path}", method=method)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=WITHIN) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        return error.read()


def shown(token):
    """The token that somebody has after asking by it."""
    answer = json.loads(ask("GET", "/v1/ticket", token))
    return answer.get("token", token)


def seated():
    """The token of somebody new, once they are in."""
    token, end = json.loads(ask("POST", "/v1/arrive"))["token"], time.monotonic() + WITHIN
    while time.monotonic() < end:
        answer = json.loads(ask("GET", "/v1/ticket", token))
        token = answer.get("token", token)
        if answer["state"] == "seated":
            return token
        time.sleep(0.1)
    raise TimeoutError("nobody was let in")


# As many as there are seats are in before anything is tried.
for person in range(int(os.environ["PREAU_SEATS"])):
    people[person] = seated()


@schemathesis.auth(refresh_interval=None)
class Bearer:
    def get(self, case, context):
        global asking
        turn = next(turns)
        kind, person = turn % 5, turn // 5 % len(people)
        # Those who stay only ask: they are to be there as long as that is tried.
        asking = person if kind > 1 and case.method == "GET" else None
        if asking is not None and people[asking]:
            token = people[asking]
            if kind == 4:
                # They leave, and forget that.
                ask("DELETE", "/v1/ticket", token)
                people[asking] = None
            return token
        token = json.loads(ask("POST", "/v1/arrive"))["token"]
        if kind == 0:
            return token
        token = shown(token)
        if kind == 1:
            ask("DELETE", "/v1/ticket", token)
        elif asking is not None:
            people[asking] = token
        return token

    def set(self, case, token, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook
def after_call(context, case, response):
    try:
        turn = json.loads(response.content)
        told.write(turn["state"] + "\n")
    except (ValueError, KeyError):
        return
    if asking is not None and people[asking] and "token" in turn and response.status_code == 200 and case.method == "GET":
        people[asking] = turn["token"]
