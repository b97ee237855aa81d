package config

// File is one deploy.ini, read and checked whole.
type File struct {
	Path string
}

// Load reads and checks the file at path. The error is Problems.
func Load(path string, opts Options) (*File, error) { panic("contract") }

// Parse is Load for bytes that are already at hand; path is only for messages.
func Parse(path string, data []byte, opts Options) (*File, error) { panic("contract") }

// Warnings are complaints that do not make the file unusable.
func (f *File) Warnings() Problems { panic("contract") }

// NodeNames lists the nodes in the file's order.
func (f *File) NodeNames() []string { panic("contract") }

// GroupNames lists the groups in the file's order.
func (f *File) GroupNames() []string { panic("contract") }

// Select turns names, globs and @groups into node names, in the file's order
// within each pattern, without repeats. An unknown one is Problems, with near names.
func (f *File) Select(patterns ...string) ([]string, error) { panic("contract") }

// Node resolves one node. The error is Problems.
func (f *File) Node(name string) (*Node, error) { panic("contract") }

// ListNames lists the [jobs:*] sections in the file's order.
func (f *File) ListNames() []string { panic("contract") }

// List gives the lines of [jobs:name]. A missing or empty list is Problems, with near names.
func (f *File) List(name string) ([]Line, error) { panic("contract") }

// SuiteNames lists the [nodetest:*] sections in the file's order.
func (f *File) SuiteNames() []string { panic("contract") }

// Suite gives the lines of [nodetest:name], as List does.
func (f *File) Suite(name string) ([]Line, error) { panic("contract") }

// refer gives what %(ref)s stands for in node's scope.
func (f *File) refer(node, ref string) (string, *Problem) { panic("contract") }
