"""A loop of Lightning's with the run in its hooks; ``tracked``: with its loader tracked."""

import sys

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

import branchtrack


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(4, 1)

    def training_step(self, batch, number):
        return ((self.net(batch[0]) - batch[1]) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-2)


class Track(lightning.Callback):
    def on_train_start(self, trainer, module):
        self.run = branchtrack.start(
            "tracked" if TRACKED else "light",
            model=module,
            optimizer=trainer.optimizers[0],
            data=loader if TRACKED else trainer.train_dataloader,
            max_steps=30,
            save_steps=5,
            seed=0,
        )

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        self.run.log(loss=outputs["loss"])
        if self.run.step():
            trainer.should_stop = True

    def on_train_end(self, trainer, module):
        self.run.finish()


TRACKED = "tracked" in sys.argv
torch.manual_seed(0)
model = Model()
generator = torch.Generator().manual_seed(1)
data = TensorDataset(
    torch.randn(40, 4, generator=generator), torch.randn(40, 1, generator=generator)
)
loader = DataLoader(data, 4, shuffle=True)
if TRACKED:
    loader = branchtrack.track_loader(loader)
lightning.Trainer(
    max_steps=30,
    callbacks=[Track()],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    accelerator="cpu",
).fit(model, loader)
