"""The page that shows how the vote stands.

Owns: counting the rows of the table `votes`, as a page at / and as JSON at
/counts: {"a", "b", "total", "hostname"}. Leaves to the worker: the table itself.
"""

import html
import os
import socket
import threading
import urllib.parse

import psycopg2
import psycopg2.errors

import web

OPTIONS = {"a": os.environ.get("OPTION_A", "Cats"), "b": os.environ.get("OPTION_B", "Dogs")}
HOSTNAME = socket.gethostname()

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{a} or {b}: the result</title>
<style>
:root {{ font: 18px/1.5 system-ui, sans-serif; color: #20242c; background: #f6f4ee }}
body {{ max-width: 38rem; margin: 12vh auto 0; padding: 0 1rem; text-align: center }}
h1 {{ font-weight: 600; letter-spacing: -.02em }}
#bar {{ display: flex; height: 5rem; border-radius: 1rem; overflow: hidden; background: #ddd8cb }}
#bar div {{ flex-basis: 50%; transition: flex-basis .4s; color: #fff; font-size: 1.4rem;
  display: grid; place-items: center; overflow: hidden; white-space: nowrap }}
#a {{ background: #d98a00 }} #b {{ background: #2b6cb0 }}
p {{ display: flex; justify-content: space-between }} small {{ color: #767b86 }}
</style></head><body>
<h1>{a} or {b}?</h1>
<div id="bar"><div id="a"></div><div id="b"></div></div>
<p><b>{a}: <span id="na">-</span></b><b>{b}: <span id="nb">-</span></b></p>
<small><span id="state">counting</span>, answered by container <b id="host">{hostname}</b></small>
<script>
const at = id => document.getElementById(id);
async function show() {{
  try {{
    const answer = await fetch("/counts"), n = await answer.json();
    if (!answer.ok) throw n.error;
    const share = n.total ? n.a / n.total * 100 : 50;
    at("a").style.flexBasis = share + "%"; at("b").style.flexBasis = 100 - share + "%";
    at("a").textContent = share.toFixed(0) + " %"; at("b").textContent = (100 - share).toFixed(0) + " %";
    at("na").textContent = n.a; at("nb").textContent = n.b; at("host").textContent = n.hostname;
    at("state").textContent = n.total + (n.total == 1 ? " vote" : " votes");
  }} catch (error) {{ at("state").textContent = "waiting for the database"; }}
  setTimeout(show, 1000);
}}
show();
</script></body></html>
"""

_connection = None
_lock = threading.Lock()


def connect():
    """A connection to the database; raises psycopg2.Error."""
    connection = psycopg2.connect(
        host=os.environ.get("POSTGRES_HOST", "db"),
        user=os.environ.get("POSTGRES_USER", "postgres"),
        password=os.environ.get("POSTGRES_PASSWORD", "postgres"),
        dbname=os.environ.get("POSTGRES_DB") or os.environ.get("POSTGRES_USER", "postgres"),
        connect_timeout=2, keepalives_idle=5, keepalives_interval=2, keepalives_count=3,
        tcp_user_timeout=3000)
    connection.autocommit = True
    return connection


def query():
    """The rows (vote, how many); no table yet means no votes yet."""
    try:
        with _connection.cursor() as cursor:
            cursor.execute("SELECT vote, count(*) FROM votes GROUP BY vote")
            return dict(cursor.fetchall())
    except psycopg2.errors.UndefinedTable:
        return {}


def counts():
    """How the vote stands; raises psycopg2.Error when the database is away."""
    global _connection
    with _lock:
        try:
            if _connection is None:
                _connection = connect()
                rows = query()
            else:
                try:
                    rows = query()
                except psycopg2.Error:
                    # The database may have been restarted since: once more, afresh.
                    _connection = None
                    _connection = connect()
                    rows = query()
        except psycopg2.Error:
            _connection = None
            raise
    return {"a": rows.get("a", 0), "b": rows.get("b", 0),
            "total": sum(rows.get(option, 0) for option in OPTIONS), "hostname": HOSTNAME}


class Result(web.Page):
    """GET / shows the page, GET /counts the numbers."""

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        if path == "/":
            self.answer(200, PAGE.format(a=html.escape(OPTIONS["a"]), b=html.escape(OPTIONS["b"]),
                                         hostname=html.escape(HOSTNAME)))
        elif path == "/counts":
            try:
                self.answer_json(200, counts())
            except psycopg2.Error as error:
                print(f"result: {str(error).strip()}", flush=True)
                self.answer_json(503, {"error": "the database is away", "hostname": HOSTNAME})
        elif path == "/whoami":
            self.answer_json(200, {"service": "result", "hostname": HOSTNAME,
                                   "client": self.client(),
                                   "client_port": self.client_address[1]})
        else:
            self.answer(404, "not found\n", "text/plain")

    do_HEAD = do_GET


if __name__ == "__main__":
    web.serve(Result, "result")
