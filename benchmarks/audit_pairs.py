"""Two versions of an audit on the same networks and images, in turn: what each leaves, and its CPU seconds.

    python benchmarks/audit_pairs.py OTHER [NETWORK...] [--images 200] [--eps 32/255] [--rounds 2]

OTHER is a checkout of the other version, for example `git worktree add ../v02 v0.2.0`. Each audit is the preset `quick`
of the first test digits, with one thread, in a process of its own, whose start is not timed. Prints a Markdown table of
the images left at each bound that both versions attack, and of the seconds of each round.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
AUDIT = """
import json, sys, time, warnings
import torch
warnings.simplefilter("ignore")
from hiresnn import data, from_pretrained, run_audit
torch.set_num_threads(1)
network, split = from_pretrained(sys.argv[1]), data.in_turn(data.load("digits").test, int(sys.argv[2]))
images, labels = split.images.float() / 255, split.labels
start, begun = time.process_time(), time.perf_counter()
card = run_audit(network, images, labels, eps=sys.argv[3])
spent = [time.process_time() - start, time.perf_counter() - begun]
print(json.dumps({"left": {point.bound: point.worst.count for point in card.curve}, "spent": spent}))
"""


def audit(checkout: Path, network: str, images: int, eps: str) -> dict[str, Any]:
    """What one audit leaves at each bound, and its CPU seconds and seconds."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", AUDIT, network, str(images), eps]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("other", type=Path, help="checkout of the other version")
    cli.add_argument("networks", nargs="*", default=["digits-hire", "digits-traditional", "robust-digits"])
    cli.add_argument("--images", type=int, default=200)
    cli.add_argument("--eps", default="32/255")
    cli.add_argument("--rounds", type=int, default=2)
    asked = cli.parse_args()
    print("| network | bound | other leaves | this leaves | CPU seconds, other | this | ratio |")
    print("|---|---|---|---|---|---|---|")
    for network in asked.networks:
        runs: dict[Path, list[dict[str, Any]]] = {asked.other.resolve(): [], HERE: []}
        for _ in range(asked.rounds):
            for checkout, results in runs.items():
                results.append(audit(checkout, network, asked.images, asked.eps))
        other, this = runs.values()
        seconds = [[result["spent"][0] for result in results] for results in (other, this)]
        texts = [", ".join(f"{second:.1f}" for second in each) for each in seconds]
        for bound in [bound for bound in this[0]["left"] if bound in other[0]["left"]]:
            last = bound == asked.eps
            timed = f"{texts[0]} | {texts[1]} | {sum(seconds[1]) / sum(seconds[0]):.2f}" if last else " | | "
            print(
                f"| {network} | {bound} | {other[0]['left'][bound]} | {this[0]['left'][bound]} | {timed} |", flush=True
            )


if __name__ == "__main__":
    main()
