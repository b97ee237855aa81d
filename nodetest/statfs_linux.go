package nodetest

import "golang.org/x/sys/unix"

// blockSize is what the numbers of blocks count, in bytes; f_bsize is but what is
// good to read at once.
func blockSize(st *unix.Statfs_t) float64 {
	if st.Frsize > 0 {
		return float64(st.Frsize)
	}
	return float64(st.Bsize)
}
