package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func describeSystem(home string) (goos, arch, account, host, boot string, free int64) {
	if u, err := user.Current(); err == nil {
		account = u.Username
	} else {
		account = os.Getenv("USER")
	}
	host, _ = os.Hostname()
	if id, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		boot = strings.TrimSpace(string(id))
	}
	var st unix.Statfs_t
	if unix.Statfs(home, &st) == nil {
		free = int64(st.Bavail) * int64(st.Bsize)
	}
	return runtime.GOOS, runtime.GOARCH, account, host, boot, free
}

// hashFile gives the hex sha256 of a file.
func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// settleFile makes a file and its name last. What cannot be synced here is no
// error: what the disk refused is.
func settleFile(name string) error {
	for _, p := range []string{name, filepath.Dir(name)} {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		err = f.Sync()
		_ = f.Close()
		if errors.Is(err, unix.EIO) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return err
		}
	}
	return nil
}

func isHash(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size
}

// unusedAfter is when another version's agent has not been started for so long
// that its file goes; staleUpload the same for an upload that was cut off.
const (
	unusedAfter = 30 * 24 * time.Hour
	staleUpload = 24 * time.Hour
)

// touch notes that the program was used.
func touch(exe string) {
	if isHash(strings.TrimPrefix(filepath.Base(exe), "conc-")) {
		now := time.Now()
		_ = os.Chtimes(exe, now, now)
	}
}

// sweepBin removes what was left behind beside the agent called self.
func sweepBin(dir, self string) {
	if !isHash(strings.TrimPrefix(self, "conc-")) {
		return // not in the place that conc made
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		limit := unusedAfter
		switch {
		case e.Name() == self:
			continue
		case strings.HasPrefix(e.Name(), uploadPrefix):
			limit = staleUpload
		case !isHash(strings.TrimPrefix(e.Name(), "conc-")):
			continue
		}
		if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() && time.Since(fi.ModTime()) > limit {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
