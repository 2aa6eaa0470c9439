"""Documents for the benchmark: sections of sentences, made of a fixed list of words, the same for the same seed."""

import random

WORDS = (  # noqa: SIM905 - a list of quoted words reads worse
    "pump valve pressure bearing shaft flange turbine rotor seal gasket sensor relay breaker cable panel motor winding "
    "coolant filter reservoir nozzle piston cylinder gear clutch brake lever spring bolt thread torque alignment "
    "vibration temperature inspection maintenance schedule operator manual procedure replacement warranty supplier "
    "invoice delivery storage humidity corrosion coating steel copper brass rubber the of and to in with for on is at "
    "before after every when must should can until between under above "
).split()


def document(seed: int, sections: int = 10) -> str:
    """Markdown of about as many chunks as sections."""
    rng = random.Random(seed)
    parts = [f"# Manual {seed}\n"]
    for number in range(sections):
        sentences = [" ".join(rng.choices(WORDS, k=rng.randint(8, 20))).capitalize() + "." for _ in range(9)]
        parts.append(f"## Section {number}: {' '.join(rng.choices(WORDS[:40], k=3))}\n\n{' '.join(sentences)}\n")
    return "\n".join(parts)


def question(seed: int) -> str:
    """Something to ask of it."""
    return f"How is the {' '.join(random.Random(seed).choices(WORDS[:40], k=4))} to be inspected?"
