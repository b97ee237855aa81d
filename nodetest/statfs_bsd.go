//go:build darwin || freebsd

package nodetest

import "golang.org/x/sys/unix"

// blockSize is what the numbers of blocks count, in bytes.
func blockSize(st *unix.Statfs_t) float64 { return float64(st.Bsize) }
