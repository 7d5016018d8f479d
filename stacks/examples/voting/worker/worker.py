"""Takes votes from Redis and writes them to PostgreSQL, one row for each voter.

Owns: the table `votes(id, vote)` and the promise that a vote taken from the
queue reaches the table even when this worker dies in between. A vote moves
from the list `votes` to `votes:taken` and leaves that one only after the
commit; what lies there for long is finished by whichever worker is idle.
Neither Redis nor the database need exist yet: it tries until they do.
"""

import json
import os
import random
import signal
import sys
import time

import psycopg2
import redis

TAKE_SECONDS = 2
# A vote that was taken this long ago belongs to a worker that is gone.
STALE_SECONDS = 10
BACKOFF_FIRST, BACKOFF_LAST = 0.1, 3.0


def say(text):
    """One line of log."""
    print(f"worker: {text}", flush=True)


class Backoff:
    """Waits longer after each failure, with jitter, up to BACKOFF_LAST seconds."""

    def __init__(self):
        self.reset()

    def reset(self):
        """The thing works again."""
        self.delay = BACKOFF_FIRST

    def wait(self, what, error):
        """Says what failed and waits."""
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        say(f"{what}: {reason}; trying again in {self.delay:.1f} s")
        time.sleep(self.delay * random.uniform(0.8, 1.2))
        self.delay = min(self.delay * 2, BACKOFF_LAST)


class Table:
    """The table of votes; reconnects for ever."""

    def __init__(self):
        self.connection = None
        self.backoff = Backoff()

    def connect(self):
        """Connects and makes the table; raises psycopg2.Error."""
        self.connection = psycopg2.connect(
            host=os.environ.get("POSTGRES_HOST", "db"),
            user=os.environ.get("POSTGRES_USER", "postgres"),
            password=os.environ.get("POSTGRES_PASSWORD", "postgres"),
            dbname=os.environ.get("POSTGRES_DB") or os.environ.get("POSTGRES_USER", "postgres"),
            connect_timeout=3,
            # A database whose host lost power sends no reset.
            keepalives_idle=5, keepalives_interval=2, keepalives_count=3,
            tcp_user_timeout=10000)
        self.connection.autocommit = True
        with self.connection.cursor() as cursor:
            # Two workers that start at once would race in the catalogue.
            cursor.execute("SELECT pg_advisory_lock(7337)")
            cursor.execute("CREATE TABLE IF NOT EXISTS votes (id text PRIMARY KEY, vote text NOT NULL)")
            cursor.execute("SELECT pg_advisory_unlock(7337)")
        say("connected to the database")
        self.backoff.reset()

    def write(self, voter, vote):
        """Writes one vote; returns once it is committed."""
        while True:
            try:
                if self.connection is None:
                    self.connect()
                with self.connection.cursor() as cursor:
                    cursor.execute(
                        "INSERT INTO votes (id, vote) VALUES (%s, %s) "
                        "ON CONFLICT (id) DO UPDATE SET vote = excluded.vote", (voter, vote))
                return
            except psycopg2.DataError as error:
                say(f"a vote the table cannot hold is dropped: {error}")
                return
            except psycopg2.Error as error:
                self.close()
                self.backoff.wait("database", error)

    def ensure(self):
        """Makes the table early, so that the result page has something to read."""
        while self.connection is None:
            try:
                self.connect()
            except psycopg2.Error as error:
                self.close()
                self.backoff.wait("database", error)

    def close(self):
        """Forgets the connection."""
        if self.connection is not None:
            try:
                self.connection.close()
            except psycopg2.Error:
                pass
        self.connection = None


def read(text):
    """(voter, vote, time) of one entry, or None when it is not a vote."""
    try:
        entry = json.loads(text)
        return str(entry["voter_id"]), str(entry["vote"]), float(entry.get("at", 0))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def finish(queue, table, text):
    """Writes one taken vote and forgets it."""
    vote = read(text)
    if vote is None:
        say(f"not a vote, dropped: {text[:200]!r}")
    else:
        table.write(vote[0], vote[1])
        say(f"wrote {vote[1]} of {vote[0]}")
    queue.lrem("votes:taken", 1, text)


def work(queue, table):
    """Takes votes until Redis fails; raises redis.RedisError."""
    swept = 0.0
    while True:
        text = queue.blmove("votes", "votes:taken", TAKE_SECONDS, "LEFT", "RIGHT")
        if text is not None:
            finish(queue, table, text)
        if text is None or time.time() - swept > STALE_SECONDS:
            swept = time.time()
            for old in queue.lrange("votes:taken", 0, 99):
                vote = read(old)
                if vote is None or swept - vote[2] > STALE_SECONDS:
                    finish(queue, table, old)


def main():
    """Works for ever, or until it is told to stop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    table, backoff = Table(), Backoff()
    table.ensure()
    while True:
        queue = redis.Redis(host=os.environ.get("REDIS_HOST", "redis"),
                            socket_connect_timeout=3, socket_timeout=TAKE_SECONDS + 3)
        try:
            queue.ping()
            say("connected to the queue")
            backoff.reset()
            work(queue, table)
        except redis.RedisError as error:
            backoff.wait("queue", error)
        finally:
            queue.close()


if __name__ == "__main__":
    main()
