module soci-reader

go 1.25.0

require github.com/awslabs/soci-snapshotter v0.14.0

require github.com/google/flatbuffers v25.12.19+incompatible // indirect
