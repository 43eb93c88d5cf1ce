"""The .beton file.

format          the layout on disk, as numpy dtypes
layout          where all parts of a file lie, checked
reader          one file as a sequence of samples; `shards`: several as one
writer          a new file; `publish`: finished files get their names
checksum_block  the CRC32 of each sample, where FFCV does not see it
sidecar         PATH.json: names of classes and samples, how the file was made
overlap         images that two files share; `identity`: whether two hold the same
local_copy      a copy on this machine of a file that lies elsewhere
verify          every sample decoded and compared with its CRC32
"""
