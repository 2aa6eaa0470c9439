"""A real cross-encoder, small enough to be made in a second: MiniLM's first layer under a head of random weights.

Its order means nothing: no checkpoint that was trained to rank can be had from a package registry. What it proves is the way.
"""

from pathlib import Path

from embedding_encoder import EncoderSettings


def make_cross_encoder(folder: Path, *, labels: int = 1) -> Path:
    """Writes it to `folder`, the same each time, and gives that back."""
    import torch  # not above: each process that collects tests would take seconds for it
    from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification

    encoder = EncoderSettings.read({}, {}).model_dir
    config = AutoConfig.from_pretrained(encoder, num_labels=labels, num_hidden_layers=1, local_files_only=True)
    torch.manual_seed(7)
    model = BertForSequenceClassification.from_pretrained(encoder, config=config, local_files_only=True)
    torch.nn.init.normal_(model.classifier.weight, std=20.0)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder, local_files_only=True).save_pretrained(folder)
    return folder
