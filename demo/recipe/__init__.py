"""How the demo's base models are made: `python -m demo.recipe --out demo/models`."""
