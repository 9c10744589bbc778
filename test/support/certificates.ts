// Certificates for tests, made by openssl: for localhost and 127.0.0.1, signed by themselves or by an authority of the test's own.
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

/** `<name>.crt` and `<name>.key` in `folder`. Without `signer` it is signed by itself, and is an authority for others. */
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

/** A folder as Kubernetes mounts a kubernetes.io/tls Secret: links through a link, which alone is replaced when the Secret changes. */
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

  /** All at once. */
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
