"""A .beton file to batches.

train_loader      training views: what each batch is made of
train_options     what it may be told
labelled_loaders  probe crops and evaluation windows
order             which samples make up each batch
augmentation      the random numbers of each view
handle            a loader's labels, its place, and its end
negatives         the negatives that a batch of views comes with, where asked
feeding           the thread that feeds the pipeline and takes its tensors; `producer`: the thread
pipeline          what DALI does with the bytes; `fed`: how it gets each batch ahead
decoder_hints     what a GPU's JPEG decoder is told beforehand
sample_checks     samples that DALI must not get, or could not decode
quarantine        the bad samples so far, and which ones stand in for them
cached            images that were decoded once and stay on the device
request           what a loader asks the pipeline for
batch             what the loaders hand over
"""
