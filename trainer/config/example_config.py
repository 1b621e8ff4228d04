"""The commented example configuration of `python -m trainer --example`; it has every key that most runs need."""

EXAMPLE_CONFIG = """\
# Faces: learn a fairness trigger for a frozen classifier.     python -m trainer run.toml
# Relative paths start from this file's folder. Any key can be changed on the command line: --set train.steps=500

[model]
bundle = "models/faces"       # folder of the frozen classifier; fitted as [base] says while it is missing

[base]                        # leave this section out when the bundle exists already
labels = ["plain", "attractive"]  # left out: the names that the data's layout gives (celeba, utkface, civilcomments)
pos_label = 1                 # index of the label whose rate is the selection rate
builder = "resnet18"          # a torchvision model, or "module:function"; for texts: encoder = "folder"
size = 112                    # pixels
epochs = 20
flip = true                   # mirror half of the images while fitting
shift = 6                     # move them by up to 6 pixels
# crop = [0.5, 1.0]           # random resized crops: such shares of their area

[data]
format = "celeba"             # or csv, jsonl, parquet: a file, or a folder of them; datasets: a save_to_disk folder;
                              # files: a folder or .tar of images or texts; utkface; civilcomments. See docs/data.md
path = "data/celeba"
label = "Attractive"          # attribute or column; several are one label: ["Blond_Hair", "Smiling"] has 4 classes
group = "Male"                # attribute or column, or several: ["Male", "Young"]
group_names = ["female", "male"]
# files: columns_from_path = "{split}/{label}/{group}_*.jpg", label = "label", group = "group"
# tables: input = "image_id" (else path, image or text), root = "images.tar" (what paths start from)
# csv: delimiter = ";", encoding = "cp1252" (else found out; UTF-8)
# values: group_map = { White = "White", "*" = "non-White" }, label_map = { hate = "toxic", noHate = "civil" }
# numbers: group_bins = [30, 50], label_bins = [0.5]   several columns as one label: label_rule = "any" (or "all")
# missing_group = "drop", on_bad_row = "skip": leave rows out that cannot be used; else they are refused
# groups that overlap: group = ["black", "female"], groups_overlap = true; a row may be in both or in none
# texts may get their groups from words instead: group_words = ["muslim*", "women", "gay"]
# utkface: label = "age", age_bins = [35], group = "race"   civilcomments: label = "toxicity", groups_overlap = true

[split]                       # whole numbers are rows, fractions are shares; no content is in two parts
base = 5000                   # fits the classifier
tuning = 2000                 # trains the trigger
val = 1500                    # picks the trigger
test = 1500                   # is reported
seed = 0
# column = "partition", column_map = { 0 = "train", 1 = "val", 2 = "test" }: a partition of the data's own
# tuning_ratio = 0.1          # use a tenth of the tuning part

[trigger]
kind = "overlay"              # images: border, patch, overlay, pixels; texts: hard, soft, embedding
epsilon = 0.125               # overlay: largest change of a pixel, 1 = from black to white
# border: width = 8, fit = "cover" (else the image is shrunk into the frame)
# patch: patch_size = 40   pixels: fraction = 0.1
# texts: tokens = 5, position = "after_cls"

[objective]
name = "adversarial"          # or gap: the squared difference of the groups' mean scores
criterion = "equalized_odds"  # or demographic_parity
strengths = "auto"            # six triggers, trained side by side, at strengths that a fifth of the steps finds
# strengths = [1, 5, 20]      # or these, one trigger each
# gradient = "scores"         # or labels: learn from a model's answers alone, as where it is an endpoint (no weights)

[train]
epochs = 40                   # or steps = 600
batch_size = 256
lr = 0.05
device = "auto"               # cpu, cuda
# max_queries = 200000        # rows that a model which is only asked may be asked; price_per_thousand = 0.5
# device_memory_gb = 20       # data kept on the GPU at most; left out: half of what is free

[select]
max_accuracy_drop = 0.01      # against no trigger, on validation; among the rest the smallest gap wins
publish = "best"              # best, front or all

[controls]                    # what a trigger has to beat: threshold shift, constant, random trigger, shrinking alone
postprocessing = true         # and rules on the model's outputs, as rivals: Hardt, OxonFair, FRAPPE, LinearPost
strength_zero = false         # also a trigger trained for utility alone: costs as much as one strength

[baselines]                   # published methods, one model per strength, each a training of its own
systems = []                  # ["adv_post", "adv_in", "faap"]: the classifier trained on; one trained from scratch;
                              # images: the frozen one behind a network that changes each image
# strengths = [0.1, 1, 5], epochs, lr, batch_size: else as [objective] and as each system needs

[report]                      # report.html and model-card.md beside metrics.json; pip install 'fairtrigger[report]'
examples = 3                  # real inputs that the report shows, before and after; 0: none
# price_per_hour = 2.5, currency = "USD": the run's cost

# [track]                     # the run's history, kept elsewhere too: docs/tracking.md
# mlflow = "http://localhost:5000"  # a tracking server, or a folder; experiment = "faces", name = "overlay, long"
# tensorboard = "tensorboard" # a folder: `tensorboard --logdir tensorboard`

[publish]
store = "fairtrigger-store"   # where `python -m service --store ...` finds it; left out: FAIRTRIGGER_STORE
actor = "trainer"
# signing_key = "trainer.key"  # every trigger is signed with it; `fairtrigger keygen trainer.key` makes one
"""
