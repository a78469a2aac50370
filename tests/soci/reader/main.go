package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/awslabs/soci-snapshotter/ztoc/compression"
	fbs "github.com/awslabs/soci-snapshotter/ztoc/fbs/ztoc"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Reads every file of a layer as a node does: the spans that hold it, each held against its digest, and no other bytes.
func main() {
	data, err := os.ReadFile(os.Args[1])
	check(err)
	layer, err := os.Open(os.Args[2])
	check(err)
	table := fbs.GetRootAsZtoc(data, 0)
	toc, info := table.Toc(nil), table.CompressionInfo(nil)
	size := compression.Offset(table.CompressedArchiveSize())
	zinfo, err := compression.NewZinfo(compression.Gzip, info.CheckpointsBytes())
	check(err)
	if zinfo.MaxSpanID() != compression.SpanID(info.MaxSpanId()) || info.SpanDigestsLength() != int(info.MaxSpanId())+1 {
		check(fmt.Errorf("%d spans, %d digests", zinfo.MaxSpanID()+1, info.SpanDigestsLength()))
	}
	for i := 0; i < info.SpanDigestsLength(); i++ {
		start, end := zinfo.StartCompressedOffset(compression.SpanID(i)), zinfo.EndCompressedOffset(compression.SpanID(i), size)
		sum := sha256.New()
		_, err = io.Copy(sum, io.NewSectionReader(layer, int64(start), int64(end-start)))
		check(err)
		if found := fmt.Sprintf("sha256:%x", sum.Sum(nil)); found != string(info.SpanDigests(i)) {
			check(fmt.Errorf("span %d: %s", i, found))
		}
	}
	var file fbs.FileMetadata
	for i := 0; i < toc.MetadataLength(); i++ {
		toc.Metadata(&file, i)
		content := []byte{}
		if wanted := compression.Offset(file.UncompressedSize()); wanted > 0 {
			at := compression.Offset(file.UncompressedOffset())
			first, last := zinfo.UncompressedOffsetToSpanID(at), zinfo.UncompressedOffsetToSpanID(at+wanted)
			start, end := zinfo.StartCompressedOffset(first), zinfo.EndCompressedOffset(last, size)
			held := make([]byte, end-start)
			_, err = layer.ReadAt(held, int64(start))
			check(err)
			content, err = zinfo.ExtractDataFromBuffer(held, wanted, at, first)
			check(err)
		}
		fmt.Printf("%s\t%s\t%o\t%d\t%d\t%s\t%x\n", file.Name(), file.Type(), file.Mode(), file.Uid(), file.Gid(), file.Linkname(), sha256.Sum256(content))
	}

}
