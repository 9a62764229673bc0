"""Training of the harm model: `python -m classifiers.harm.train --corpora DIR`. Needs the `train` extra; the runtime never imports it."""
