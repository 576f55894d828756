// Command sign signs a release's checksums the way that Terraform checks them: a detached binary OpenPGP signature,
// and beside it the public key, in a file whose name has the key's id.
//
//	sign [-key SECRET.asc] RELEASE_SHA256SUMS
//
// Without -key it makes a key for this one signature and forgets the secret half. A passphrase is read from
// COFFRET_SIGNING_PASSPHRASE.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// The public registry takes RSA keys, and every Terraform can check what they sign.
var keys = &packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 3072}

func main() {
	log.SetFlags(0)
	log.SetPrefix("sign: ")
	file := flag.String("key", "", "armored secret `key` to sign with")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("name the one file to sign")
	}
	if err := sign(flag.Arg(0), *file, os.Getenv("COFFRET_SIGNING_PASSPHRASE")); err != nil {
		log.Fatal(err)
	}
}

// sign writes the signature to RELEASE_SHA256SUMS.sig and the public key to RELEASE_KEYID.asc.
func sign(sums, secret, passphrase string) error {
	content, err := os.ReadFile(sums)
	if err != nil {
		return err
	}
	var signer *openpgp.Entity
	if secret == "" {
		signer, err = openpgp.NewEntity("Coffret", "made for one release", "", keys)
	} else {
		signer, err = read(secret, passphrase)
	}
	if err != nil {
		return err
	}
	var signature, public bytes.Buffer
	if err := openpgp.DetachSign(&signature, signer, bytes.NewReader(content), nil); err != nil {
		return fmt.Errorf("%s cannot sign: %w", secret, err)
	}
	if err := export(&public, signer); err != nil {
		return err
	}
	if err := os.WriteFile(sums+".sig", signature.Bytes(), 0o644); err != nil {
		return err
	}
	name := fmt.Sprintf("%s%016X.asc", strings.TrimSuffix(sums, "SHA256SUMS"), signer.PrimaryKey.KeyId)
	return os.WriteFile(name, public.Bytes(), 0o644)
}

// read returns the one secret key in the file, unlocked.
func read(file, passphrase string) (*openpgp.Entity, error) {
	armored, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer armored.Close()
	ring, err := openpgp.ReadArmoredKeyRing(armored)
	if err != nil {
		return nil, fmt.Errorf("%s is no armored key, as `gpg --armor --export-secret-keys` writes it: %w", file, err)
	}
	if len(ring) != 1 || ring[0].PrivateKey == nil {
		return nil, fmt.Errorf("%s has to have one secret key and nothing else", file)
	}
	if err := ring[0].DecryptPrivateKeys([]byte(passphrase)); err != nil {
		return nil, errors.New("COFFRET_SIGNING_PASSPHRASE does not unlock " + file)
	}
	return ring[0], nil
}

func export(out io.Writer, signer *openpgp.Entity) error {
	armored, err := armor.Encode(out, openpgp.PublicKeyType, nil)
	if err != nil {
		return err
	}
	if err := signer.Serialize(armored); err != nil {
		return err
	}
	return armored.Close()
}
