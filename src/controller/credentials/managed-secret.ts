// Makes the Secrets of generated keys, keeps them as they should be, and never touches anybody else's.
import type { Clock } from '../../time.js'
import { isApiError } from '../../kube/api-error.js'
import { isApplied } from '../../kube/managed-fields.js'
import { bindingSecret, secretTexts, whoseSecret, type BindingSecret } from './binding-secret.js'
import { parseKeysRecord, planKeys, type KeyPlan, type KeyWish } from './key-rotation.js'
import { keysAnnotation, secrets } from '../kinds.js'
import type { Desired, EventRecorder, ObjectApi, ObjectCache } from '../../kube/ports.js'
import { keyOf, type ApiObject } from '../../kube/object.js'
import type { Reason } from '../reasons.js'
import type { Verdict } from '../tenants/conditions.js'

export interface SecretKeeperOptions {
  readonly api: ObjectApi
  /** Of labelled Secrets. */
  readonly cache: ObjectCache
  readonly clock: Clock
  readonly events: EventRecorder
}

export interface SecretWish extends Omit<BindingSecret, 'record' | 'data'> {
  readonly keys: KeyWish
}

export interface KeptSecret {
  readonly verdict: Verdict
  /** Undefined: the Secret is not ours, or cannot be written. */
  readonly plan: KeyPlan | undefined
  readonly secret: ApiObject | undefined
}

export class SecretKeeper {
  readonly #options: SecretKeeperOptions
  /** The last turn at each Secret that is being written: two owners of one name would both find none, and both make it. */
  readonly #turns = new Map<string, Promise<unknown>>()

  constructor(options: SecretKeeperOptions) {
    this.#options = options
  }

  /** Rejects as the API does for what may pass, and when `signal` ends before a write; what somebody must mend is a verdict. */
  async keep(wish: SecretWish, signal: AbortSignal): Promise<KeptSecret> {
    const { cache, clock } = this.#options
    const key = keyOf(wish)
    const cached = cache.get(key)
    if (cached) {
      const { desired, plan } = this.#plan(wish, cached, clock.epochMs())
      if (whoseSecret(cached, wish.owner) === 'ours' && isApplied(desired, cached, ''))
        return { verdict: ready, plan, secret: cached }
    }
    const before = this.#turns.get(key)
    const turn = Promise.allSettled([before]).then(async () => this.#write(wish, signal))
    this.#turns.set(key, turn)
    try {
      return await turn
    } finally {
      if (this.#turns.get(key) === turn) this.#turns.delete(key)
    }
  }

  async #write(wish: SecretWish, signal: AbortSignal): Promise<KeptSecret> {
    const { api, cache, clock } = this.#options
    try {
      // Nothing is decided by what may be old: a key made twice would be a key lost.
      const found = await this.#find(wish, signal)
      if (found === 'foreign') {
        // Without keys it is a convenience, and not worth a word.
        const verdict = wish.keys.wanted.size === 0 ? noKeys : notOurs(wish.name)
        return { verdict, plan: undefined, secret: undefined }
      }
      const { desired, plan } = this.#plan(wish, found, clock.epochMs())
      signal.throwIfAborted()
      const secret = await api.apply(secrets, withUid(desired, found), { known: found })
      cache.wrote(secret)
      if (secret !== found) this.#tell(wish, plan, found)
      return { verdict: ready, plan, secret }
    } catch (error) {
      const verdict = refusalOf(error)
      if (!verdict) throw error
      return { verdict, plan: undefined, secret: undefined }
    }
  }

  /** The Secret as it is now, which may be kept by nobody. One that a former owner of the same name left is removed. */
  async #find(wish: SecretWish, signal: AbortSignal): Promise<ApiObject | 'foreign' | undefined> {
    const { api } = this.#options
    signal.throwIfAborted()
    const found = await getOrUndefined(api, wish)
    if (!found) return undefined
    const whose = whoseSecret(found, wish.owner)
    if (whose !== 'predecessors') return whose === 'ours' ? found : 'foreign'
    signal.throwIfAborted()
    // The garbage collector would do it too, later. Nothing of it is inherited.
    await api.delete(secrets, wish, { uid: found.metadata.uid }).catch((error: unknown) => {
      if (!isApiError(error, 'NotFound', 'Conflict')) throw error
    })
    return undefined
  }

  #plan(wish: SecretWish, found: ApiObject | undefined, nowMs: number): { plan: KeyPlan; desired: Desired } {
    const record = parseKeysRecord(found?.metadata.annotations[keysAnnotation])
    const plan = planKeys(wish.keys, { record, data: secretTexts(found) }, nowMs)
    return { plan, desired: bindingSecret({ ...wish, record: plan.record, data: plan.data }) }
  }

  #tell(wish: SecretWish, { made, record, rotated }: KeyPlan, before: ApiObject | undefined): void {
    const { events } = this.#options
    const where = `Secret "${wish.name}"`
    const tell = (reason: Reason, message: string) =>
      events.event(wish.owner, { type: 'Normal', reason, message, action: 'WriteSecret' })
    if (made.length > 0) tell('KeysGenerated', `Made ${made.join(', ')} in ${where}.`)
    if (rotated.length > 0) tell('KeysRotated', `Replaced ${rotated.join(', ')} in ${where}.`)
    // The end of an overlap is no repair.
    if (before?.metadata.annotations[keysAnnotation] === JSON.stringify(record))
      tell('SecretRepaired', `${where} is again as it should be.`)
  }
}

const ready: Verdict = { ok: true, reason: 'CredentialsReady', message: 'The Secret is as it should be.' }

const noKeys: Verdict = { ok: true, reason: 'CredentialsReady', message: 'No keys are generated.' }

function notOurs(name: string): Verdict {
  const message = `There is a Secret "${name}" that was not made by the controller. Delete or rename it, or choose another secretName.`
  return { ok: false, reason: 'SecretNotOurs', message, waitsFor: 'somebody' }
}

function withUid(desired: Desired, found: ApiObject | undefined): Desired {
  return found ? { ...desired, metadata: { ...desired.metadata, uid: found.metadata.uid } } : desired
}

/** What the API server says no to, for ever or until somebody acts. A namespace that is going takes its tenants with it. */
function refusalOf(error: unknown): Verdict | undefined {
  if (!isApiError(error, 'Forbidden', 'Invalid', 'RequestEntityTooLarge')) return undefined
  const isGoing = error.causes.some(({ reason }) => reason === 'NamespaceTerminating')
  const waitsFor = isGoing ? 'time' : 'somebody'
  return { ok: false, reason: 'SecretRefused', message: `The API server says: ${error.message}`, waitsFor }
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
