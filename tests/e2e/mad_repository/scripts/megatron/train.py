"""Prints what a training would print."""

for step in range(1, 4):
    print(f"iteration {step} rate: {40 + step}.5")
