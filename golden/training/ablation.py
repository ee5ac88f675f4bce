"""Which terms of plasticity help: the same short training, each time with one term more or less."""

from dataclasses import replace

from golden.training.plasticity import Rules
from golden.training.settings import Settings

# Strengths of the terms that the default rules leave out.
OPTIONAL = {
    "spike timing of synapses (eta_w)": {"eta_w": 1e-3},
    "potential left in the membrane (lambda_potential)": {"lambda_potential": 0.01},
    "alpha towards V_target (eta_alpha)": {"eta_alpha": 0.02},
    "expected first spike (lambda_time)": {"lambda_time": 0.01},
    "sum of weights (lambda_C)": {"lambda_C": 0.01},
}


def variants(settings: Settings, rules: Rules) -> list[tuple[str, Settings, Rules]]:
    """(name, settings, rules) of every run.

    The first is the default set; the last one trains only weights on the task, with thresholds as
    they are.
    """
    base = rules.without("eta_w", "lambda_potential", "eta_alpha", "lambda_time", "lambda_C")
    rows = [("base: task, distillation, eta_theta, lambda_neuron", settings, base)]
    rows += [(f"base and {name}", settings, replace(base, **terms))
             for name, terms in OPTIONAL.items()]
    rows += [
        ("base without the local rule of thresholds (eta_theta)", settings,
         base.without("eta_theta")),
        ("base without spikes in the loss (lambda_neuron)", settings,
         base.without("lambda_neuron")),
        ("base without distillation", replace(settings, distil=0.0), base),
        ("no plasticity: the task alone", replace(settings, neuron_rate=0.0),
         base.without("eta_theta", "lambda_neuron")),
    ]
    return rows
