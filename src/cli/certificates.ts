// Certificates and keys from files, PEM as everybody writes them. What cannot be used is said in a sentence, and nothing secret with it.
import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { ConfigError } from '../errors.js'
import { readNamedFile } from './files.js'

/** A certificate, with the intermediates behind it, and the key that belongs to it: PEM texts. */
export interface KeyPair {
  readonly cert: string
  readonly key: string
  /** Of the certificate itself, since the epoch; it may be over. */
  readonly expiresMs: number
}

/** Where the two are. */
export interface KeyPairFiles {
  readonly cert: string
  readonly key: string
}

/** `flags` is what the names of both flags begin with, as `--tls`. Undefined when neither is given; throws ConfigError when one is. */
export function keyPairFiles(
  { cert, key }: Partial<Record<keyof KeyPairFiles, string | undefined>>,
  flags: string,
): KeyPairFiles | undefined {
  if (cert !== undefined && key !== undefined) return { cert, key }
  if (cert === key) return undefined
  throw new ConfigError([`A certificate and its key come together: ${flags}-cert-file, ${flags}-key-file`])
}

/** Throws ConfigError. A pair that has expired is read all the same: whether the clock is wrong cannot be told from here. */
export function readKeyPair(files: KeyPairFiles): KeyPair {
  const cert = readNamedFile('certificate file', files.cert)
  const key = readNamedFile('key file', files.key)
  const certificate = parseCertificate(cert, files.cert)
  if (!certificate.checkPrivateKey(parseKey(key, files.key)))
    throw new ConfigError([
      `The key in "${files.key}" is another than that of the certificate in "${files.cert}"`,
    ])
  try {
    // What OpenSSL's own rules have against it, such as a key that is too short, and what stands behind the first certificate.
    createSecureContext({ cert, key })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ConfigError([`The certificate file "${files.cert}" cannot be used: ${reason}`])
  }
  return { cert, key, expiresMs: Date.parse(certificate.validTo) }
}

/** One certificate or more that others are checked against. Throws ConfigError. */
export function readAuthorities(file: string): string {
  const text = readNamedFile('certificate file', file)
  parseCertificate(text, file)
  return text
}

function parseCertificate(text: string, file: string): X509Certificate {
  try {
    return new X509Certificate(text)
  } catch {
    throw new ConfigError([`The certificate file "${file}" holds no certificate in PEM`])
  }
}

function parseKey(text: string, file: string): KeyObject {
  try {
    return createPrivateKey(text)
  } catch {
    throw new ConfigError([`The key file "${file}" holds no private key in PEM, or one with a passphrase`])
  }
}
