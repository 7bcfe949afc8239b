"""A small CNN that learns scikit-learn's digits, in a plain PyTorch loop.

    python -m branchtrack.examples.digits --lr 0.05

Nothing is downloaded. Only the lines marked ``branchtrack`` differ from a script without it.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset, TensorDataset, random_split

import branchtrack

Images = Subset[tuple[torch.Tensor, ...]]


def digits() -> tuple[Images, Images]:
    """Return 1,797 images of 8 x 8 with labels, one in six held out; always the same split."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit("This example needs scikit-learn: pip install scikit-learn") from None
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    whole = TensorDataset(x, torch.tensor(labels))
    train, test = random_split(whole, [5 / 6, 1 / 6], torch.Generator().manual_seed(0))
    return train, test


def network() -> nn.Module:
    """Return a network of two convolutions and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(32 * 4 * 4, 10),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--name", default="digits", help="name of the run")
    parser.add_argument("--continue", action="store_true", help="go on where it ended before")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--every", type=int, default=50, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.manual_seed(options.seed)  # before the model is made
    train, test = digits()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), options.lr, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)

    def evaluate() -> dict[str, float]:
        model.eval()
        x, labels = next(iter(DataLoader(test, batch_size=len(test))))
        with torch.no_grad():
            scores = model(x)
        right = (scores.argmax(1) == labels).float().mean()
        return {"eval_loss": float(cross_entropy(scores, labels)), "accuracy": float(right)}

    run = branchtrack.start(  # branchtrack
        options.name,
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        data=DataLoader(train, batch_size=32, shuffle=True),
        # Settings that the loop reads; they can be changed during the training and by a resume.
        settings={"label_smoothing": branchtrack.setting(0.0, minimum=0.0, maximum=0.9)},
        evaluate=evaluate,
        max_steps=options.steps,
        save_steps=options.every,
        seed=options.seed,
    )
    with run:  # branchtrack
        for x, labels in run.batches():  # branchtrack
            smoothing = run.settings["label_smoothing"]  # branchtrack
            loss = cross_entropy(model(x), labels, label_smoothing=smoothing)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss, lr=scheduler.get_last_lr()[0])  # branchtrack
            scheduler.step()
            if run.update % options.every == 0:
                metrics = run.evaluate()  # branchtrack
                print(f"step {run.update}: accuracy {metrics['accuracy']:.3f}", flush=True)
            if run.step():  # branchtrack
                break


if __name__ == "__main__":
    main()
