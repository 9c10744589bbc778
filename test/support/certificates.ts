// Creates certificates for localhost and 127.0.0.1 with openssl. They are self-signed, or signed by a
// certificate authority that the test creates.
import { execFile } from 'node:child_process'
import { copyFile, mkdir, rename, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { locate, needs } from '../../scripts/needs.mjs'

export interface CertificateFiles {
  readonly cert: string
  readonly key: string
}

const forLocalhost = ['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

async function openssl(...args: string[]): Promise<void> {
  await promisify(execFile)((await locate(needs.openssl)) ?? 'openssl', args)
}

/**
 * Creates `<name>.crt` and `<name>.key` in `folder`. Without `signer` the certificate is self-signed, and can
 * sign other certificates.
 */
export async function makeCertificate(
  folder: string,
  name: string,
  { days = 2, signer }: { days?: number; signer?: CertificateFiles } = {},
): Promise<CertificateFiles> {
  const files = { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) }
  const signed = signer ? ['-CA', signer.cert, '-CAkey', signer.key] : []
  const subject = ['-subj', `/CN=${name}`, ...forLocalhost]
  const out = ['-keyout', files.key, '-out', files.cert]
  await openssl('req', '-x509', ...newKey, ...subject, '-days', String(days), ...signed, ...out)
  return files
}

/**
 * A folder in the form in which Kubernetes mounts a kubernetes.io/tls Secret: the files are links through the
 * link `..data`, and only that link is replaced when the Secret changes.
 */
export class SecretVolume implements CertificateFiles {
  readonly cert: string
  readonly key: string
  readonly #folder: string
  #writes = 0

  private constructor(folder: string) {
    this.#folder = folder
    this.cert = join(folder, 'tls.crt')
    this.key = join(folder, 'tls.key')
  }

  static async mount(folder: string, files: CertificateFiles): Promise<SecretVolume> {
    const volume = new SecretVolume(folder)
    await mkdir(folder)
    await volume.write(files)
    await symlink('..data/tls.crt', volume.cert)
    await symlink('..data/tls.key', volume.key)
    return volume
  }

  /** Replaces both files atomically, as Kubernetes does. */
  async write({ cert, key }: CertificateFiles): Promise<void> {
    this.#writes += 1
    const name = `..${this.#writes}`
    await mkdir(join(this.#folder, name))
    await copyFile(cert, join(this.#folder, name, 'tls.crt'))
    await copyFile(key, join(this.#folder, name, 'tls.key'))
    await symlink(name, join(this.#folder, '..next'))
    await rename(join(this.#folder, '..next'), join(this.#folder, '..data'))
  }
}
