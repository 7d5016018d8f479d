"""The page on which one votes: two options, one vote for each voter.

Owns: the form, the cookie that tells voters apart, and putting each vote on
the Redis list `votes` as {"voter_id", "vote", "at"}. Leaves to the worker:
everything after that. /whoami says as JSON who answered and whom it saw.
"""

import html
import http.cookies
import json
import os
import re
import secrets
import socket
import threading
import time
import urllib.parse

import redis

import web

OPTIONS = {"a": os.environ.get("OPTION_A", "Cats"), "b": os.environ.get("OPTION_B", "Dogs")}
HOSTNAME = socket.gethostname()
VOTER_ID = re.compile(r"[0-9a-zA-Z_-]{1,64}")
# The longest form that is read, in bytes.
FORM_LIMIT = 4096

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{a} or {b}?</title>
<style>
:root {{ font: 18px/1.5 system-ui, sans-serif; color: #20242c; background: #f6f4ee }}
body {{ max-width: 34rem; margin: 12vh auto 0; padding: 0 1rem; text-align: center }}
h1 {{ font-weight: 600; letter-spacing: -.02em }}
form {{ display: grid; grid-template-columns: 1fr 1fr; gap: 1rem }}
button {{ font: inherit; font-size: 1.5rem; padding: 2.2rem 0; border: 3px solid transparent;
  border-radius: 1rem; color: #fff; cursor: pointer }}
button[value=a] {{ background: #d98a00 }} button[value=b] {{ background: #2b6cb0 }}
button.chosen {{ border-color: #20242c }}
p {{ min-height: 1.5em }} small {{ color: #767b86 }}
</style></head><body>
<h1>{a} or {b}?</h1>
<form method="post" action="/">
<button name="vote" value="a" class="{chosen_a}">{a}</button>
<button name="vote" value="b" class="{chosen_b}">{b}</button>
</form>
<p>{message}</p>
<small>answered by container <b>{hostname}</b> to client <b>{client}</b></small>
</body></html>
"""

_queue = redis.Redis(
    host=os.environ.get("REDIS_HOST", "redis"),
    socket_connect_timeout=2,
    socket_timeout=2,
    health_check_interval=5,
)
_queue_lock = threading.Lock()


def push(vote):
    """Puts one vote on the list; a second try covers a connection that went stale."""
    text = json.dumps(vote)
    with _queue_lock:
        try:
            _queue.rpush("votes", text)
        except redis.ConnectionError:
            _queue.rpush("votes", text)


class Vote(web.Page):
    """GET / shows the form, POST / votes, GET /whoami tells who and whom."""

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        if path == "/":
            self.page(200, "", None)
        elif path == "/whoami":
            self.answer_json(200, {
                "service": "vote",
                "hostname": HOSTNAME,
                "client": self.client(),
                "client_port": self.client_address[1],
            })
        else:
            self.answer(404, "not found\n", "text/plain")

    do_HEAD = do_GET

    def do_POST(self):
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if not 0 <= length <= FORM_LIMIT:
            self.close_connection = True
            self.answer(413, "a vote is a short form with a length\n", "text/plain")
            return
        form = urllib.parse.parse_qs(self.rfile.read(length).decode("utf-8", "replace"))
        choice = form.get("vote", [""])[0]
        if choice not in OPTIONS:
            self.answer(400, "vote is one of: a, b\n", "text/plain")
            return
        voter = self.voter()
        try:
            push({"voter_id": voter, "vote": choice, "at": time.time()})
        except redis.RedisError as error:
            print(f"vote: cannot reach the queue: {error}", flush=True)
            self.page(503, "The ballot box is closed just now; please try again.", None, voter)
            return
        self.page(200, f"Your vote for <b>{html.escape(OPTIONS[choice])}</b> is on its way.",
                  choice, voter)

    def voter(self):
        """The voter's id from the cookie, or a new one."""
        try:
            cookie = http.cookies.SimpleCookie(self.headers.get("Cookie", "")).get("voter_id")
        except http.cookies.CookieError:
            cookie = None
        if cookie and VOTER_ID.fullmatch(cookie.value):
            return cookie.value
        return secrets.token_hex(8)

    def page(self, status, message, choice, voter=None):
        """Sends the form, with a message under it."""
        headers = [("X-Container", HOSTNAME)]
        if voter:
            headers.append(("Set-Cookie", f"voter_id={voter}; Path=/; SameSite=Lax"))
        self.answer(status, TEMPLATE.format(
            a=html.escape(OPTIONS["a"]), b=html.escape(OPTIONS["b"]), message=message,
            chosen_a="chosen" if choice == "a" else "",
            chosen_b="chosen" if choice == "b" else "",
            hostname=html.escape(HOSTNAME), client=html.escape(self.client())), headers=headers)


if __name__ == "__main__":
    web.serve(Vote, "vote")
