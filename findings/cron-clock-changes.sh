#!/usr/bin/env bash
# Seven cron libraries give six different answers for the two nights in which clocks change. Two of
# them run an hourly job twice in one hour, and one of the two not at all in another.
#
# Packages: npm croner 11.0.0, cron-parser 5.10.5, cron 4.4.0, cronosjs 1.7.1; PyPI croniter 7.0.0,
#           cronsim 2.8, apscheduler 3.11.3, with the time zones of tzdata 2026.6.
# Ran with: Node.js 20.20.2, Python 3.11.7, 2026-11-30.
#
# The time zone is Europe/Berlin. On 2026-03-29 at 02:00 clocks go to 03:00 (01:00 UTC), so that no
# time from 02:00 to 02:59 exists; on 2026-10-25 at 03:00 they go back to 02:00 (01:00 UTC), so that
# each of them exists twice.
#
# Expected: a job of 02:30 runs at 03:00 in spring and once in autumn, as Debian's cron does it; a
# job of minute 30 of every hour runs once in each hour that passes; a job of 03:00 knows of
# nothing.
#
# Seen, as times in UTC between 00:00 and 03:59 of that day:
#   - 02:30 in spring runs at 03:00 local time by five libraries, at 03:30 by cron-parser and
#     apscheduler. In autumn it runs once by five, twice by croniter and apscheduler.
#   - Minute 30 of every hour: in spring, cron and cronosjs run it at 03:00 local time as well,
#     between 01:30 and 03:30. In autumn, cronosjs leaves out the second 02:30, so that two hours
#     pass.
#   - 03:00 in autumn: cron runs it twice, first at 01:00 UTC, where the clock shows 02:00.
# Timers of cron and cronosjs, driven by a simulated clock, fired at the instants listed here.
#
#| 30 2 * * *  2026-03-29  apscheduler  01:30
#| 30 2 * * *  2026-03-29  cron         01:00
#| 30 2 * * *  2026-03-29  cron-parser  01:30
#| 30 2 * * *  2026-03-29  croner       01:00
#| 30 2 * * *  2026-03-29  croniter     01:00
#| 30 2 * * *  2026-03-29  cronosjs     01:00
#| 30 2 * * *  2026-03-29  cronsim      01:00
#| 30 2 * * *  2026-10-25  apscheduler  00:30 01:30
#| 30 2 * * *  2026-10-25  cron         00:30
#| 30 2 * * *  2026-10-25  cron-parser  00:30
#| 30 2 * * *  2026-10-25  croner       00:30
#| 30 2 * * *  2026-10-25  croniter     00:30 01:30
#| 30 2 * * *  2026-10-25  cronosjs     00:30
#| 30 2 * * *  2026-10-25  cronsim      00:30
#| 30 * * * *  2026-03-29  apscheduler  00:30 01:30 02:30 03:30
#| 30 * * * *  2026-03-29  cron         00:30 01:00 01:30 02:30 03:30
#| 30 * * * *  2026-03-29  cron-parser  00:30 01:30 02:30 03:30
#| 30 * * * *  2026-03-29  croner       00:30 01:30 02:30 03:30
#| 30 * * * *  2026-03-29  croniter     00:30 01:30 02:30 03:30
#| 30 * * * *  2026-03-29  cronosjs     00:30 01:00 01:30 02:30 03:30
#| 30 * * * *  2026-03-29  cronsim      00:30 01:30 02:30 03:30
#| 30 * * * *  2026-10-25  apscheduler  00:30 01:30 02:30 03:30
#| 30 * * * *  2026-10-25  cron         00:30 01:30 02:30 03:30
#| 30 * * * *  2026-10-25  cron-parser  00:30 01:30 02:30 03:30
#| 30 * * * *  2026-10-25  croner       00:30 01:30 02:30 03:30
#| 30 * * * *  2026-10-25  croniter     00:30 01:30 02:30 03:30
#| 30 * * * *  2026-10-25  cronosjs     00:30 02:30 03:30
#| 30 * * * *  2026-10-25  cronsim      00:30 01:30 02:30 03:30
#| 0 3 * * *   2026-03-29  apscheduler  01:00
#| 0 3 * * *   2026-03-29  cron         01:00
#| 0 3 * * *   2026-03-29  cron-parser  01:00
#| 0 3 * * *   2026-03-29  croner       01:00
#| 0 3 * * *   2026-03-29  croniter     01:00
#| 0 3 * * *   2026-03-29  cronosjs     01:00
#| 0 3 * * *   2026-03-29  cronsim      01:00
#| 0 3 * * *   2026-10-25  apscheduler  02:00
#| 0 3 * * *   2026-10-25  cron         01:00 02:00
#| 0 3 * * *   2026-10-25  cron-parser  02:00
#| 0 3 * * *   2026-10-25  croner       02:00
#| 0 3 * * *   2026-10-25  croniter     02:00
#| 0 3 * * *   2026-10-25  cronosjs     02:00
#| 0 3 * * *   2026-10-25  cronsim      02:00
set -euo pipefail

finding=$(realpath "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
install() { "$@" >install.log 2>&1 || { cat install.log >&2 && exit 2; }; }
install python3 -m venv python
install python/bin/pip install croniter==7.0.0 cronsim==2.8 apscheduler==3.11.3 tzdata==2026.6
install npm install --prefix . --no-audit --no-fund \
  croner@11.0.0 cron-parser@5.10.5 cron@4.4.0 cronosjs@1.7.1

cat >ask.py <<'PYTHON'
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim

ZONE = ZoneInfo("Europe/Berlin")


def by_croniter(expression, start):
    iterator = croniter(expression, start)
    while True:
        yield iterator.get_next(datetime)


def by_apscheduler(expression, start):
    trigger, previous, now = CronTrigger.from_crontab(expression, timezone=ZONE), None, start
    while True:
        previous = trigger.get_next_fire_time(previous, now)
        # In UTC: Python adds to an aware time by its local clock.
        now = (previous.astimezone(timezone.utc) + timedelta(seconds=1)).astimezone(ZONE)
        yield previous


LIBRARIES = {"croniter": by_croniter, "cronsim": CronSim, "apscheduler": by_apscheduler}
for expression in ["30 2 * * *", "30 * * * *", "0 3 * * *"]:
    for day in ["2026-03-29", "2026-10-25"]:
        midnight = datetime.fromisoformat(day + "T00:00:00+00:00")
        for name, firings in LIBRARIES.items():
            times = []
            for firing in firings(expression, (midnight - timedelta(hours=12)).astimezone(ZONE)):
                firing = firing.astimezone(timezone.utc)
                if firing >= midnight + timedelta(hours=4):
                    break
                if firing >= midnight:
                    times.append(firing.strftime("%H:%M"))
            print(f"{expression:10}  {day}  {name:11}  {' '.join(times)}")
PYTHON

cat >ask.mjs <<'JAVASCRIPT'
import { CronTime } from "cron";
import { CronExpressionParser } from "cron-parser";
import { Cron } from "croner";
import { CronosExpression } from "cronosjs";

const timezone = "Europe/Berlin";
// Each gives a function from an instant to the next firing after it.
const libraries = {
  "cron-parser": (expression, start) => {
    const firings = CronExpressionParser.parse(expression, { tz: timezone, currentDate: start });
    return () => firings.next().toDate();
  },
  cron: (expression) => {
    const time = new CronTime(expression, timezone);
    return (after) => time.getNextDateFrom(after, timezone).toJSDate();
  },
  croner: (expression) => {
    const job = new Cron(expression, { timezone });
    return (after) => job.nextRun(after);
  },
  cronosjs: (expression) => {
    const parsed = CronosExpression.parse(expression, { timezone });
    return (after) => parsed.nextDate(after);
  },
};
for (const expression of ["30 2 * * *", "30 * * * *", "0 3 * * *"]) {
  for (const day of ["2026-03-29", "2026-10-25"]) {
    const midnight = new Date(`${day}T00:00:00Z`);
    const start = new Date(midnight.getTime() - 12 * 3600e3);
    const end = new Date(midnight.getTime() + 4 * 3600e3);
    for (const [name, make] of Object.entries(libraries)) {
      const next = make(expression, start);
      const times = [];
      for (let at = next(start); at < end; at = next(at)) {
        if (at >= midnight) times.push(at.toISOString().slice(11, 16));
      }
      console.log(`${expression.padEnd(10)}  ${day}  ${name.padEnd(11)}  ${times.join(" ")}`);
    }
  }
}
JAVASCRIPT

{ python/bin/python ask.py && node ask.mjs; } >answers
# In the order of the expressions, then of days and libraries.
for expression in "30 2" "30 *" "0 3"; do
  grep --fixed-strings "$expression * *" answers | LC_ALL=C sort
done >output

sed -n 's/^#| //p' "$finding" | diff - output || {
  echo "it is not as described any more" >&2
  exit 1
}
echo "as described: $(wc -l <output) answers of seven libraries"
