"""A .beton file to batches.

train_loader      training views: what each batch is made of
labelled_loaders  probe crops and evaluation windows
order             which samples make up each batch
augmentation      the random numbers of each view
handle            a loader's labels, its place, and its end
feeding           feeds the pipeline ahead of the consumer, and takes its tensors
producer          the thread in which that happens
pipeline          what DALI does with the bytes, and in which order it gets the batches
quarantine        samples that DALI must not get or could not decode, and what stands in for them
cached            images that were decoded once and stay on the device
batch             what a loader asks its pipeline for, and what it hands over
"""
