"""Checks the summary that `preau dev --seconds N --output json` ends with.

Usage: check_dev.py SUMMARY.json
"""

import json
import sys


def main(path):
    with open(path, encoding="utf-8") as file:
        summary = json.load(file)
    regions = summary.pop("regions")
    classes = {c["class"]: c for c in summary["classes"]}
    admitted, waited = (
        {name: c[what] / max(c["arrived"], 1) for name, c in classes.items()} for what in ("admitted", "peak_waiting")
    )
    total = summary.get
    checks = {
        "three nodes": len(total("nodes")) == 3,
        "the 18 régions": len(regions) == 18,
        "users came and were admitted": total("arrived") > 0 and total("admitted") > 0,
        "in every region that they came to": all(r["admitted"] > 0 for r in regions if r["arrived"] > 0),
        "the sessions never passed the budget": total("over_budget") == 0,
        "nor the slots": 0 < total("held") <= total("peak_held") <= total("capacity"),
        "most of the budget was used": total("peak_in_use") > 0.9 * total("capacity"),
        "while users waited": total("peak_waiting") > 0,
        "idle slots were lent": total("peak_borrowed") > 0,
        # In the end nearly all of the first two classes are in, so that who was served first shows in their queues.
        "by class: teachers before those with an exam before everyone": waited["teachers"] < waited["exams"] < waited["everyone"],
        "and both long before everyone": min(admitted["teachers"], admitted["exams"]) > 1.5 * admitted["everyone"],
        "nobody lost their place": total("lost") == 0,
        "the regions' slots add up": sum(r["held"] for r in regions) == total("held"),
        "no region is above its ceiling": all(r["peak_held"] <= r["capacity"] for r in regions),
    }
    for check, holds in checks.items():
        print(f"{'ok  ' if holds else 'FAIL'}  {check}")
    print(json.dumps(summary))
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
