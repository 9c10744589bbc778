// Creates the Secrets of generated keys, and restores them after a user changed them. It never changes a
// Secret that belongs to another object.
import type { Clock } from '../../time.js'
import { isApiError } from '../../kube/api-error.js'
import { isApplied } from '../../kube/managed-fields.js'
import { bindingSecret, secretDataTexts, secretOwnership, type BindingSecret } from './binding-secret.js'
import { parseKeysRecord, rotateKeys, type GeneratedKeys, type DesiredKeys } from './key-rotation.js'
import { keysAnnotation, secrets } from '../kinds.js'
import type { Desired, EventRecorder, ObjectApi, ObjectCache } from '../../kube/ports.js'
import { keyOf, type ApiObject } from '../../kube/object.js'
import type { Reason } from '../reasons.js'
import type { Verdict } from '../tenants/conditions.js'

export interface ManagedSecretsOptions {
  readonly api: ObjectApi
  /** The cache of labelled Secrets. */
  readonly cache: ObjectCache
  readonly clock: Clock
  readonly events: EventRecorder
}

/** A Secret that should exist, and its keys. */
export interface DesiredSecret extends Omit<BindingSecret, 'record' | 'data'> {
  readonly keys: DesiredKeys
}

/** The result of `ManagedSecrets.ensure`. */
export interface ManagedSecret {
  readonly verdict: Verdict
  /** Undefined when the name is taken by a foreign Secret, or the Secret cannot be written. */
  readonly generated: GeneratedKeys | undefined
  readonly secret: ApiObject | undefined
}

export class ManagedSecrets {
  readonly #options: ManagedSecretsOptions
  /**
   * The last write in progress for each Secret. Two owners that specify the same name must not both create
   * the Secret.
   */
  readonly #writes = new Map<string, Promise<unknown>>()

  constructor(options: ManagedSecretsOptions) {
    this.#options = options
  }

  /**
   * Returns the keys that the Secret holds, as far as the cache shows it, without a call to the API server.
   * Returns undefined when a key is missing, so that `ensure` must come first.
   */
  heldKeys(desired: DesiredSecret): GeneratedKeys | undefined {
    const { cache, clock } = this.#options
    const cached = cache.get(keyOf(desired))
    const found = cached && secretOwnership(cached, desired.owner) === 'owned' ? cached : undefined
    if (!found && desired.keys.algorithms.size > 0) return undefined
    const generated = generatedKeys(desired, found, clock.epochMs())
    return generated.created.length > 0 ? undefined : generated
  }

  /**
   * Makes the Secret match `desired`. A failure that requires a user is returned as a verdict. Rejects with
   * the API's error for a temporary failure, and when `signal` aborts before a write.
   */
  async ensure(desired: DesiredSecret, signal: AbortSignal): Promise<ManagedSecret> {
    const { cache, clock } = this.#options
    const key = keyOf(desired)
    const cached = cache.get(key)
    if (cached) {
      const generated = generatedKeys(desired, cached, clock.epochMs())
      const isOwned = secretOwnership(cached, desired.owner) === 'owned'
      if (isOwned && isApplied(manifestOf(desired, generated), cached, ''))
        return { verdict: ready, generated, secret: cached }
    }
    const before = this.#writes.get(key)
    const write = Promise.allSettled([before]).then(async () => this.#write(desired, signal))
    this.#writes.set(key, write)
    try {
      return await write
    } finally {
      if (this.#writes.get(key) === write) this.#writes.delete(key)
    }
  }

  async #write(desired: DesiredSecret, signal: AbortSignal): Promise<ManagedSecret> {
    const { api, cache, clock } = this.#options
    try {
      // Read the Secret from the API server, because the cache may be stale, and generating a key again would
      // overwrite the first one.
      const found = await this.#read(desired, signal)
      if (found === 'foreign') {
        // A Secret without keys is only a convenience, so its absence is not a failure.
        const verdict = desired.keys.algorithms.size === 0 ? noKeys : nameTaken(desired.name)
        return { verdict, generated: undefined, secret: undefined }
      }
      const generated = generatedKeys(desired, found, clock.epochMs())
      signal.throwIfAborted()
      const manifest = withUid(manifestOf(desired, generated), found)
      const secret = await api.apply(secrets, manifest, { known: found })
      cache.recordWrite(secret)
      if (secret !== found) this.#recordEvents(desired, generated, found)
      return { verdict: ready, generated, secret }
    } catch (error) {
      const verdict = refusedVerdict(error)
      if (!verdict) throw error
      return { verdict, generated: undefined, secret: undefined }
    }
  }

  /** Reads the current Secret. Deletes a Secret that a deleted owner of the same name has left behind. */
  async #read(desired: DesiredSecret, signal: AbortSignal): Promise<ApiObject | 'foreign' | undefined> {
    const { api } = this.#options
    signal.throwIfAborted()
    const found = await getOrUndefined(api, desired)
    if (!found) return undefined
    const ownership = secretOwnership(found, desired.owner)
    if (ownership !== 'predecessor') return ownership === 'owned' ? found : 'foreign'
    signal.throwIfAborted()
    // The garbage collector would delete the Secret later, but its keys must not be reused.
    await api.delete(secrets, desired, { uid: found.metadata.uid }).catch((error: unknown) => {
      if (!isApiError(error, 'NotFound', 'Conflict')) throw error
    })
    return undefined
  }

  #recordEvents(
    desired: DesiredSecret,
    { created, record, rotated }: GeneratedKeys,
    before: ApiObject | undefined,
  ): void {
    const { events } = this.#options
    const where = `Secret "${desired.name}"`
    const recordEvent = (reason: Reason, message: string) =>
      events.event(desired.owner, { type: 'Normal', reason, message, action: 'WriteSecret' })
    if (created.length > 0) recordEvent('KeysGenerated', `Generated ${created.join(', ')} in ${where}.`)
    if (rotated.length > 0)
      recordEvent(
        'KeysRotated',
        `Rotated ${rotated.join(', ')} in ${where}. The previous keys stay valid until the overlap ends.`,
      )
    // A changed record means that an overlap ended, which is not a repair.
    if (before?.metadata.annotations[keysAnnotation] === JSON.stringify(record))
      recordEvent('SecretRepaired', `${where} had been changed by hand and was restored.`)
  }
}

/** Returns the keys that the Secret should hold: those that it holds, with new ones and rotated ones. */
function generatedKeys({ keys }: DesiredSecret, found: ApiObject | undefined, nowMs: number): GeneratedKeys {
  const record = parseKeysRecord(found?.metadata.annotations[keysAnnotation])
  return rotateKeys(keys, { record, data: secretDataTexts(found) }, nowMs)
}

function manifestOf(desired: DesiredSecret, { data, record }: GeneratedKeys): Desired {
  return bindingSecret({ ...desired, record, data })
}

const ready: Verdict = { ok: true, reason: 'CredentialsReady', message: 'The Secret is up to date.' }

const noKeys: Verdict = {
  ok: true,
  reason: 'CredentialsReady',
  message: 'The spec asks for no generated keys.',
}

function nameTaken(name: string): Verdict {
  const message =
    `The Secret "${name}" exists and was not generated for this object, so the controller does not change it. ` +
    'Choose another secretName, or delete that Secret if nothing else uses it.'
  return { ok: false, reason: 'SecretNotOurs', message, waitsFor: 'action' }
}

function withUid(manifest: Desired, found: ApiObject | undefined): Desired {
  return found ? { ...manifest, metadata: { ...manifest.metadata, uid: found.metadata.uid } } : manifest
}

/**
 * Returns the verdict for a refusal that a retry does not resolve. When the namespace is being deleted, no
 * user action is needed, because its tenants are deleted too.
 */
function refusedVerdict(error: unknown): Verdict | undefined {
  if (!isApiError(error, 'Forbidden', 'Invalid', 'RequestEntityTooLarge')) return undefined
  const isTerminating = error.causes.some(({ reason }) => reason === 'NamespaceTerminating')
  const waitsFor = isTerminating ? 'time' : 'action'
  return {
    ok: false,
    reason: 'SecretRefused',
    message: `The API server refuses the Secret: ${error.message}`,
    waitsFor,
  }
}

async function getOrUndefined(
  api: ObjectApi,
  { name, namespace }: { name: string; namespace: string },
): Promise<ApiObject | undefined> {
  try {
    return await api.get(secrets, { name, namespace })
  } catch (error) {
    if (isApiError(error, 'NotFound')) return undefined
    throw error
  }
}
