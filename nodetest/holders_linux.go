package nodetest

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// holders lists the processes of this account that were started with a setting
// in their environment.
func holders(setting string) []int {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, path := range environs {
		data, err := os.ReadFile(path) // another account's cannot be read, and a zombie's is empty
		if err != nil || !bytes.Contains(append([]byte{0}, data...), []byte("\x00"+setting+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}
