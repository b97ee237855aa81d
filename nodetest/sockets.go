package nodetest

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"example.org/conc/jobs"
)

// listeners gives the addresses of this host on which there is a socket that
// takes what comes to a port, each once and in order. A protocol without a
// family is both.
func listeners(ctx context.Context, protocol string, port uint16) ([]netip.Addr, error) {
	if runtime.GOOS != "linux" {
		return nil, Skipf("the sockets of %s are not known here: only Linux has /proc/net", runtime.GOOS)
	}
	base := strings.TrimRight(protocol, "46")
	tables := []string{base, base + "6"}
	switch protocol {
	case base + "4":
		tables = tables[:1]
	case base + "6":
		tables = tables[1:]
	}
	var all []netip.Addr
	for _, name := range tables {
		f, err := os.Open("/proc/net/" + name)
		if errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(name, "6") {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, unreadable(err)
		}
		found, err := readSockets(ctx, f, base, port)
		_ = f.Close() // it was only read
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all), nil
}

// The states in /proc/net of a socket that waits for whoever comes: TCP's LISTEN,
// and UDP's without a peer.
var waiting = map[string]string{"tcp": "0A", "udp": "07"}

// readSockets reads a table of /proc/net: in each line the second word is the
// socket's own address, and the fourth its state.
func readSockets(ctx context.Context, table io.Reader, base string, port uint16) ([]netip.Addr, error) {
	var found []netip.Addr
	lines := bufio.NewScanner(table)
	for first := true; lines.Scan(); first = false {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		words := strings.Fields(lines.Text())
		if first || len(words) < 4 || words[3] != waiting[base] {
			continue
		}
		address, number, _ := strings.Cut(words[1], ":")
		if p, err := strconv.ParseUint(number, 16, 16); err != nil || p != uint64(port) {
			continue
		}
		a, err := kernelAddress(address)
		if err != nil {
			return nil, jobs.Errorf("/proc/net: %w", err)
		}
		found = append(found, a)
	}
	return found, lines.Err()
}

// kernelAddress reads an address as /proc/net has it: words of 32 bits, each in
// the order of the machine's bytes.
func kernelAddress(s string) (netip.Addr, error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.Addr{}, fmt.Errorf("%q is no address", s)
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, _ := netip.AddrFromSlice(raw) // 4 or 16 bytes
	return a.Unmap(), nil
}
