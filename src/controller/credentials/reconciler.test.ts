// Which ChatCredential of a tenant is one too many depends on the age of the objects only, not on the order
// in which their changes arrive.
import { expect, test } from 'vitest'
import type { ApiKey, TenantPolicy } from '../../tenant/policy.js'
import { ApiError } from '../../kube/api-error.js'
import { objectOf } from '../../kube/list-pages.js'
import { KubeObjectCache } from '../../kube/object-cache.js'
import { keyOf, type ApiObject } from '../../kube/object.js'
import type { Desired, ObjectApi } from '../../kube/ports.js'
import { ManualTime } from '../../kube/time.testing.js'
import { Cluster } from '../cluster.js'
import { chatCredentials, chatTenants } from '../kinds.js'
import { credentialsMax } from '../tenants/policy.js'
import { ManagedSecrets } from './managed-secret.js'
import { CredentialReconciler } from './reconciler.js'

const clock = new ManualTime()
const events = { event: () => {} }
const unused = async () => expect.fail('this call is not expected')

/** The object with the lowest index is the oldest. */
function credential(index: number): ApiObject {
  const name = `key-${index}`
  const creationTimestamp = new Date(Date.UTC(2026, 0, 1) + index * 1000).toISOString()
  const metadata = { name, namespace: 'demo', uid: name, resourceVersion: '1', creationTimestamp }
  const spec = { tenantRef: { name: 'acme' }, importSecretRef: { name: 'missing', key: 'key' } }
  return objectOf(chatCredentials, { metadata, spec }, '')
}

test.each(['oldest first', 'newest first'])('the newest is refused when they arrive %s', async (order) => {
  const newCache = () => new KubeObjectCache({ clock, onListenerError: () => {} })
  const [tenants, credentials, secrets] = [newCache(), newCache(), newCache()]
  const cluster = new Cluster({ tenants, credentials, secrets, plans: newCache(), namespaces: newCache() })
  const tenant = { name: 'acme', namespace: 'demo', uid: 'acme', resourceVersion: '1' }
  tenants.put(objectOf(chatTenants, { metadata: tenant }, ''))
  const all = Array.from({ length: credentialsMax + 1 }, (_, index) => credential(index))
  const arriving = order === 'oldest first' ? all : all.toReversed()
  for (const object of arriving) credentials.put(object)
  const reasons = new Map<string, unknown>()
  const api: ObjectApi = {
    get: async () => {
      throw new ApiError('not found', { code: 404, reason: 'NotFound' })
    },
    applyStatus: async (_, desired: Desired) => {
      const { conditions } = desired['status'] as { conditions: { type: string; reason: string }[] }
      reasons.set(desired.metadata.name, conditions.find(({ type }) => type === 'Ready')?.reason)
      const found = credentials.get(keyOf(desired.metadata))
      return found ?? expect.fail('the object exists')
    },
    apply: unused,
    list: unused,
    create: unused,
    update: unused,
    delete: unused,
  }
  // The policy was compiled when one credential had not arrived yet.
  const apiKeys = arriving.slice(0, credentialsMax).map(({ metadata: { name } }): ApiKey => {
    return { id: name, credential: name, sha256: '', role: 'Admin', scopes: [] }
  })
  const policy = { apiKeys } as TenantPolicy
  const reconciler = new CredentialReconciler({
    api,
    cluster,
    catalog: { policyOf: () => policy, rolloutOf: () => ({ kind: 'unavailable', message: '' }) },
    secrets: new ManagedSecrets({ api, cache: secrets, clock, events }),
    publicUrl: undefined,
    clock,
    events,
  })
  for (const { metadata } of all) await reconciler.reconcile(keyOf(metadata), new AbortController().signal)
  const refused = [...reasons].filter(([, reason]) => reason === 'TooManyCredentials')
  expect(refused).toEqual([[`key-${credentialsMax}`, 'TooManyCredentials']])
})
