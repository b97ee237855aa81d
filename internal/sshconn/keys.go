package sshconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// defaultKeys are the files tried when nothing else is said, in ssh's order of worth.
var defaultKeys = []string{"id_ed25519", "id_ecdsa", "id_rsa"}

// opKeyFiles lists the private key files that op_key names: ~/.ssh/id_TYPE-KEY.
// One of which only the .pub is there counts too: the agent may hold it.
func opKeyFiles(home, key string) []string {
	dir := filepath.Join(home, ".ssh")
	entries, _ := os.ReadDir(dir) // a folder that is not there has no keys; Dial says so
	var files []string
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".pub")
		kind, ok := strings.CutPrefix(name, "id_")
		if !ok {
			continue
		}
		if kind, ok = strings.CutSuffix(kind, "-"+key); !ok || kind == "" || strings.Contains(kind, "-") {
			continue
		}
		if path := filepath.Join(dir, name); !slices.Contains(files, path) {
			files = append(files, path)
		}
	}
	return files
}

// identity is one key that can be offered.
type identity struct {
	name   string // for messages: its file, or the agent's comment
	path   string // of the private key; "" for one of the agent alone
	pub    ssh.PublicKey
	cert   *ssh.Certificate
	signer ssh.Signer // nil while the key is encrypted
	locked []byte     // the encrypted file
	agent  bool
	public bool // where the private key should be, there is a public one
}

// unlockTries is how often a passphrase is asked for, as ssh does.
const unlockTries = 3

// readIdentity reads a private key file and what stands beside it. The error
// is fs.ErrNotExist when there is neither the key nor its public half.
func readIdentity(path string) (*identity, error) {
	id := &identity{name: path, path: path}
	pubErr := id.readPublic(path + ".pub")
	data, err := readSmall(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && pubErr == nil && id.pub != nil:
		return id, nil // for the agent, if it holds it
	case err != nil:
		return nil, err
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
		id.public = true
		return id, id.readPublic(path) // good for the agent, if it holds it
	}
	var locked *ssh.PassphraseMissingError
	signer, err := ssh.ParsePrivateKey(data)
	switch {
	case err == nil:
		id.signer, id.pub = signer, signer.PublicKey()
	case errors.As(err, &locked):
		id.locked = data
		if locked.PublicKey != nil {
			id.pub = locked.PublicKey
		}
	case id.pub != nil && strings.HasPrefix(id.pub.Type(), "sk-"):
		// A key in hardware: only the agent can use it.
	default:
		return nil, fmt.Errorf("%s is not a private key that conc can read: %w", path, err)
	}
	return id, nil
}

// usableFile refuses a key that others can read, as ssh does.
func usableFile(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if m := st.Mode().Perm(); m&0o077 != 0 {
		return fmt.Errorf("%s: mode %04o is too open for a private key: others can read it", path, m)
	}
	return nil
}

func (id *identity) readPublic(path string) error {
	data, err := readSmall(path)
	if err != nil {
		return err
	}
	id.pub, _, _, _, err = ssh.ParseAuthorizedKey(data)
	return err
}

// readCert takes a certificate for the key, if the file holds one.
func (id *identity) readCert(path string) error {
	data, err := readSmall(path)
	if err != nil {
		return err
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	cert, ok := pub.(*ssh.Certificate)
	if !ok {
		return fmt.Errorf("%s: not a certificate", path)
	}
	if id.pub != nil && bytes.Equal(cert.Key.Marshal(), id.pub.Marshal()) {
		id.cert = cert
	}
	return nil
}

// readSmall reads a file that has no reason to be large.
func readSmall(path string) ([]byte, error) {
	const most = 256 << 10
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO would be waited for
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("%s is too large for a key", path)
	}
	return data, err
}

// lazySigner signs with a key whose passphrase is asked for only when a server
// has said that it would accept the key.
type lazySigner struct {
	id     *identity
	mu     *sync.Mutex
	unlock func() error
}

func (s lazySigner) PublicKey() ssh.PublicKey { return s.id.pub }

func (s lazySigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, "")
}

func (s lazySigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id.signer == nil {
		if err := s.unlock(); err != nil {
			return nil, err
		}
	}
	if a, ok := s.id.signer.(ssh.AlgorithmSigner); ok {
		return a.SignWithAlgorithm(rand, data, algorithm)
	}
	return s.id.signer.Sign(rand, data)
}

// unlock asks for the passphrase of an encrypted key.
func (id *identity) unlock(ctx context.Context, ask func(ctx context.Context, question string) (string, error)) error {
	question := fmt.Sprintf("Passphrase for the key %s:", id.path)
	for range unlockTries {
		pass, err := ask(ctx, question)
		if err != nil {
			return fmt.Errorf("%s is encrypted, and its passphrase could not be asked for: %w", id.path, err)
		}
		signer, err := ssh.ParsePrivateKeyWithPassphrase(id.locked, []byte(pass))
		if err == nil {
			if id.pub != nil && !bytes.Equal(id.pub.Marshal(), signer.PublicKey().Marshal()) {
				return fmt.Errorf("%s: the .pub file beside it belongs to another key", id.path)
			}
			id.signer, id.pub, id.locked = signer, signer.PublicKey(), nil
			return nil
		}
		question = fmt.Sprintf("Wrong. Passphrase for the key %s:", id.path)
	}
	return fmt.Errorf("%s: wrong passphrase, %d times", id.path, unlockTries)
}
