package testnode

import (
	"encoding/binary"
	"io"
)

// bounded is the channel of a file server whose disk may be full. What it cannot
// take it never sees: a write that goes beyond the limit comes in as one to a file
// that is not open, which is refused with the same word, and the question for free
// room as one of a file system that has none.
type bounded struct {
	io.ReadWriteCloser
	limit func() int64 // of a file's size; 0: none
	ready []byte       // of a packet that was looked at
}

// Packets of SFTP, version 3.
const (
	sftpWrite    = 6
	sftpExtended = 200
	sftpLongest  = 1 << 20 // over that, a packet is the server's to refuse
)

// Read gives packets one after the other.
func (b *bounded) Read(p []byte) (int, error) {
	if len(b.ready) == 0 {
		packet := make([]byte, 4)
		if _, err := io.ReadFull(b.ReadWriteCloser, packet); err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint32(packet)
		if n <= sftpLongest {
			packet = append(packet, make([]byte, n)...)
			if _, err := io.ReadFull(b.ReadWriteCloser, packet[4:]); err != nil {
				return 0, err
			}
			packet = b.look(packet)
		}
		b.ready = packet
	}
	n := copy(p, b.ready)
	b.ready = b.ready[n:]
	return n, nil
}

// look gives a packet as the server is to see it: length, type, id, and what
// follows.
func (b *bounded) look(packet []byte) []byte {
	const head = 4 + 1 + 4
	if len(packet) < head || packet[4] != sftpWrite && packet[4] != sftpExtended {
		return packet
	}
	limit := b.limit()
	if limit == 0 {
		return packet
	}
	first, rest, ok := field(packet[head:])
	switch {
	case !ok:
		return packet
	case packet[4] == sftpWrite && len(rest) >= 8:
		at := binary.BigEndian.Uint64(rest)
		data, _, ok := field(rest[8:])
		if !ok || at+uint64(len(data)) <= uint64(limit) {
			return packet
		}
		return repack(packet[:head], []byte{}, rest)
	case string(first) == "statvfs@openssh.com":
		return repack(packet[:head], first, appendField(nil, []byte("/proc")))
	}
	return packet
}

// field reads a string with its length in front.
func field(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

func appendField(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// repack gives a packet with another first field.
func repack(head, first, rest []byte) []byte {
	out := append(appendField(append([]byte(nil), head...), first), rest...)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}
