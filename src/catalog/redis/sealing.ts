// Seals what must not lie in Redis in the clear. A seal opens only for the tenant and the field that it was made for.
//
// Rotation: add the new key as the second line everywhere and restart; then make it the first line for the controller, whose next snapshot
// seals everything anew; then remove the old line.
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import { ConfigError } from '../../errors.js'

/** Where a sealed value stands. */
export interface SealContext {
  readonly tenantId: string
  readonly path: string
}

/** A sentence without a secret; key ids are none. */
export class SealError extends Error {
  override readonly name = 'SealError'
  readonly reason: 'UnknownSealingKey' | 'DamagedSeal' | 'NotSealed'

  constructor(reason: SealError['reason'], message: string) {
    super(message)
    this.reason = reason
  }
}

const cipher = 'aes-256-gcm'
const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16
const keyIdPattern = /^[A-Za-z0-9._-]{1,40}$/
const sealPattern = /^sealed:1:(?<keyId>[A-Za-z0-9._-]{1,40}):(?<body>[A-Za-z0-9+/=]+)$/

/** The content of a sealing key file: the first key seals, all of them open. */
export class SealingKeys {
  readonly #keys: ReadonlyMap<string, KeyObject>
  /** Of the key that seals. */
  readonly keyId: string

  private constructor(keyId: string, keys: ReadonlyMap<string, KeyObject>) {
    this.keyId = keyId
    this.#keys = keys
  }

  /**
   * One `id:base64` per line; empty lines and lines that begin with `#` do not count. `source` names the file in the sentences, which quote
   * nothing of it but well-formed ids: in a broken line any part may be the key.
   * @throws ConfigError with every problem.
   */
  static parse(text: string, source: string): SealingKeys {
    const problems: string[] = []
    const keys = new Map<string, KeyObject>()
    for (const [index, line] of text.split(/\r?\n/).entries()) {
      const content = line.trim()
      if (content === '' || content.startsWith('#')) continue
      const problem = addKey(keys, content)
      if (problem !== undefined) problems.push(`Sealing key file "${source}", line ${index + 1}: ${problem}.`)
    }
    const [first] = keys.keys()
    if (problems.length === 0 && first === undefined) {
      problems.push(
        `Sealing key file "${source}": there is no key in it. One line is "id:key", the key made by: openssl rand -base64 32`,
      )
    }
    if (first === undefined || problems.length > 0) throw new ConfigError(problems)
    return new SealingKeys(first, keys)
  }

  /** Can what this key has sealed be opened? */
  has(keyId: string): boolean {
    return this.#keys.has(keyId)
  }

  seal(secret: string, place: SealContext): string {
    const key = this.#keys.get(this.keyId)
    if (!key) throw new Error('unreachable: the sealing key is one of the keys')
    const nonce = randomBytes(nonceBytes)
    const sealer = createCipheriv(cipher, key, nonce, { authTagLength: tagBytes })
    sealer.setAAD(associatedData(place))
    const sealed = Buffer.concat([nonce, sealer.update(secret, 'utf8'), sealer.final(), sealer.getAuthTag()])
    return `sealed:1:${this.keyId}:${sealed.toString('base64')}`
  }

  /** @throws SealError */
  open(sealed: string, place: SealContext): string {
    const parts = sealPattern.exec(sealed)?.groups
    if (!parts)
      throw new SealError('NotSealed', `${place.path} is not sealed, or in a way that is unknown here`)
    const { body = '', keyId = '' } = parts
    const key = this.#keys.get(keyId)
    if (!key) {
      const known = [...this.#keys.keys()].join(', ')
      throw new SealError(
        'UnknownSealingKey',
        `${place.path} is sealed with key "${keyId}", and the sealing key file has only ${known}`,
      )
    }
    const bytes = Buffer.from(body, 'base64')
    try {
      const opener = createDecipheriv(cipher, key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes })
      opener.setAAD(associatedData(place))
      opener.setAuthTag(bytes.subarray(-tagBytes))
      const secret = opener.update(bytes.subarray(nonceBytes, -tagBytes), undefined, 'utf8')
      return secret + opener.final('utf8')
    } catch {
      // The cause tells nothing that helps: GCM knows only right and wrong.
      throw new SealError(
        'DamagedSeal',
        `${place.path} does not open with key "${keyId}": it was made for another place, with another key of this id, or is damaged`,
      )
    }
  }
}

/** Undefined: it was added. */
function addKey(keys: Map<string, KeyObject>, line: string): string | undefined {
  const colon = line.indexOf(':')
  const id = line.slice(0, Math.max(colon, 0))
  if (!keyIdPattern.test(id)) {
    return 'it must be "id:key"; an id has 1 to 40 letters, digits, dots, underscores and hyphens'
  }
  if (keys.has(id)) return `there is a key "${id}" already`
  const encoded = line.slice(colon + 1).trim()
  const bytes = Buffer.from(encoded, 'base64')
  if (bytes.toString('base64').replace(/=+$/, '') !== encoded.replace(/=+$/, '')) {
    return `key "${id}" is not base64`
  }
  if (bytes.byteLength !== keyBytes) {
    return `key "${id}" has ${bytes.byteLength} bytes, and ${keyBytes} are needed: openssl rand -base64 ${keyBytes}`
  }
  keys.set(id, createSecretKey(bytes))
  return undefined
}

/** As JSON, so that no two places are bound to the same bytes. */
function associatedData({ path, tenantId }: SealContext): Buffer {
  return Buffer.from(JSON.stringify(['parley', tenantId, path]))
}
