// Reads certificates and keys in PEM from files. Error messages name the problem and never show the contents.
import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { ConfigError } from '../errors.js'
import { readNamedFile } from './files.js'

/** A certificate with its intermediates, and the private key that belongs to it, as PEM texts. */
export interface KeyPair {
  readonly cert: string
  readonly key: string
  /** The end of the certificate's validity, in milliseconds since 1970; it may be in the past. */
  readonly expiresMs: number
}

/** The paths of the two files. */
export interface KeyPairFiles {
  readonly cert: string
  readonly key: string
}

/**
 * Returns the files of a key pair, or undefined when neither is given. `flags` is the common beginning of the
 * two options, as in `--tls`.
 * @throws ConfigError when only one of them is given.
 */
export function keyPairFiles(
  { cert, key }: Partial<Record<keyof KeyPairFiles, string | undefined>>,
  flags: string,
): KeyPairFiles | undefined {
  if (cert !== undefined && key !== undefined) return { cert, key }
  if (cert === key) return undefined
  throw new ConfigError([
    `A certificate and its key go together: give both ${flags}-cert-file and ${flags}-key-file`,
  ])
}

/**
 * Reads a key pair. An expired certificate is accepted, because this process cannot know whether its own
 * clock is wrong.
 * @throws ConfigError when a file cannot be read or used, or when the key does not belong to the certificate.
 */
export function readKeyPair(files: KeyPairFiles): KeyPair {
  const cert = readNamedFile('certificate file', files.cert)
  const key = readNamedFile('key file', files.key)
  const certificate = parseCertificate(cert, files.cert)
  if (!certificate.checkPrivateKey(parseKey(key, files.key)))
    throw new ConfigError([`The key in "${files.key}" does not belong to the certificate in "${files.cert}"`])
  try {
    // OpenSSL checks more, such as the length of the key and the certificates after the first.
    createSecureContext({ cert, key })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ConfigError([`The certificate file "${files.cert}" cannot be used: ${reason}`])
  }
  return { cert, key, expiresMs: Date.parse(certificate.validTo) }
}

/**
 * Reads one or more certificates of authorities. @throws ConfigError when there is none or the file cannot be
 * read.
 */
export function readAuthorities(file: string): string {
  const text = readNamedFile('certificate file', file)
  parseCertificate(text, file)
  return text
}

function parseCertificate(text: string, file: string): X509Certificate {
  try {
    return new X509Certificate(text)
  } catch {
    throw new ConfigError([`The certificate file "${file}" does not contain a certificate in PEM`])
  }
}

function parseKey(text: string, file: string): KeyObject {
  try {
    return createPrivateKey(text)
  } catch {
    throw new ConfigError([
      `The key file "${file}" does not contain a private key in PEM, or the key has a passphrase`,
    ])
  }
}
