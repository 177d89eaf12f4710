// The program in the pods of tests/cluster/check. It only needs Go's standard library.
//
//	probe serve      HTTP on 8080: /FILE is a file's content. HTTPS on 8443: an admission webhook that refuses.
//	probe fetch URL  prints what the URL answers; fails on any status but 200
//	probe cat FILE   prints a file
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

func main() {
	switch os.Args[1] {
	case "serve":
		serve()
	case "fetch":
		fetch(os.Args[2])
	case "cat":
		content, err := os.ReadFile(os.Args[2])
		must(err)
		_, _ = os.Stdout.Write(content)
	}
}

func serve() {
	go func() { must(http.ListenAndServe(":8080", http.FileServer(http.Dir("/")))) }()
	go func() {
		must(http.ListenAndServeTLS(":8443", "/tls/tls.crt", "/tls/tls.key", http.HandlerFunc(refuse)))
	}()
	log.Print("serving")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
}

func refuse(w http.ResponseWriter, r *http.Request) {
	var review map[string]any
	must(json.NewDecoder(r.Body).Decode(&review))
	uid := review["request"].(map[string]any)["uid"]
	review["request"] = nil
	review["response"] = map[string]any{"uid": uid, "allowed": false, "status": map[string]any{"message": "refused by the probe"}}
	must(json.NewEncoder(w).Encode(review))
}

// As a pod's service account where the URL is the API server's.
func fetch(url string) {
	roots := x509.NewCertPool()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	must(err)
	if ca, err := os.ReadFile(account + "ca.crt"); err == nil {
		roots.AppendCertsFromPEM(ca)
		token, err := os.ReadFile(account + "token")
		must(err)
		request.Header.Set("Authorization", "Bearer "+string(token))
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	answer, err := client.Do(request)
	for try := 0; err != nil && try < 50; try++ { // what it calls may still start
		time.Sleep(200 * time.Millisecond)
		answer, err = client.Do(request)
	}
	must(err)
	_, _ = io.Copy(os.Stdout, answer.Body)
	if answer.StatusCode != http.StatusOK {
		must(fmt.Errorf("%s: %s", url, answer.Status))
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
