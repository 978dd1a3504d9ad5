"""Checks the summary that `preau dev --seconds N --output json` ends with.

Usage: check_dev.py SUMMARY.json
"""

import json
import sys


def main(path):
    with open(path, encoding="utf-8") as file:
        summary = json.load(file)
    totals, regions = summary["totals"], summary["regions"]
    checks = {
        "the 18 régions are there": len(regions) == 18,
        "users were admitted": totals["admitted"] > 0,
        "slots are held": totals["held"] > 0,
        "the budget was never passed": totals["over_budget"] == 0,
        "what is held fits the capacity": totals["held"] <= totals["capacity"],
        "the regions' slots add up": sum(region["held"] for region in regions) == totals["held"],
        "every region admitted someone": all(region["admitted"] > 0 for region in regions),
    }
    for check, holds in checks.items():
        print(f"{'ok  ' if holds else 'FAIL'}  {check}")
    print("totals:", json.dumps(totals))
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
