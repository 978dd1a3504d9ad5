"""Checks what `preau replay --policy preau,ideal --output json` says of the morning: how close the rules come to
a queue that knows everything at once."""

import json
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        played = {figures["policy"]: figures for figures in json.load(file)}
    preau, ideal = played["preau"], played["ideal"]
    wrong = []

    def holds(what, value, bound, is_right):
        print(f"{what}: {value:.4f} (bound {bound})")
        if not is_right:
            wrong.append(what)

    for by in ("09:15", "09:30"):
        part = preau["seated_by"][by] / ideal["seated_by"][by]
        holds(f"seated by {by}, to ideal", part, 0.98, part >= 0.98)
    slower = preau["wait_p90_s"] / ideal["wait_p90_s"]
    holds("wait p90, to ideal", slower, 1.05, slower <= 1.05)
    use = preau["utilisation_while_waiting"]
    holds("use while someone waits", use, 0.99, use >= 0.99)
    inversions = preau["inversions_per_million"]
    holds("inversions per million", inversions, 1_000, inversions < 1_000)
    over = preau["max_over_budget"]
    holds("most over budget", over, 0, over == 0)
    if wrong:
        sys.exit("the morning is not what it should be: " + ", ".join(wrong))


main()
