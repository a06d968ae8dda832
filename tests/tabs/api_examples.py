"""Rosetta UI from a program: match, read, look, keep. The README shows this file."""

# ruff: noqa: T201 - it shows what it found

import base64
import sys
from pathlib import Path

from gradio_client import Client

address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7860"
client = Client(address, verbose=False)

# A match tells how far it is; its last answer names the result.
for step in client.submit(n_images=32, api_name="/match"):
    print(step["state"], step["done"], "of", step["total"])

# The neurons that the generator shares with every backbone, best first.
found = client.predict(result=step["result"], api_name="/rosetta")["neurons"]
best = found[0]
units = [best["anchor"], *(partner["unit"] for partner in best["partners"].values())]
print(len(found), "Rosetta Neurons; the best:", *units)

# What these units see in the first image.
seen = client.predict(units=units, result=step["result"], image=0, api_name="/heatmaps")
for unit, rows in seen["maps"].items():
    print(unit, len(rows), "×", len(rows[0]), "highest", max(map(max, rows)))

# The gallery as one page that opens without a server.
page = client.predict(result=step["result"], kind="html", api_name="/export")
Path(page["name"]).write_bytes(base64.b64decode(page["data"]))

# A picture of one's own, looked for in the generator's world; its frames come with the steps.
picture = seen["picture"].partition(",")[2]  # or base64.b64encode(Path("me.jpg").read_bytes())
for step in client.submit(picture=picture, steps=20, api_name="/invert"):
    print(step["state"], step["step"], "of", step["steps"])
print("inverted:", step["numbers"]["psnr"], "dB")

# A drag of an eighth to the right, as in the Edit tab; its recipe is where another call goes on.
shift = {"kind": "shift", "dx": 0.12, "dy": 0.0}
for step in client.submit(edits=[shift], seed=3, api_name="/edit"):
    print(step["state"], step["step"], "of", step["steps"])
print("fidelity", step["numbers"]["fidelity_after"], "after", len(step["recipe"]["steps"]), "edit")

# A match that is not wanted any more; what it had is kept and goes on next time.
job = client.submit(n_images=5000, seed=1, api_name="/match")
print(next(job)["state"], "cancelled:", job.cancel())
