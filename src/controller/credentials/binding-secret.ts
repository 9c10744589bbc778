// A generated Secret: how it looks, and whose it is. Shaped by the Service Binding specification, so that its tools can mount it.
import { z } from 'zod'
import type { PublicUrl } from './endpoints.js'
import type { KeysRecord } from './key-rotation.js'
import type { Desired } from '../../kube/ports.js'
import { keysAnnotation, ownerAnnotation, secretLabel, type SecretRole } from '../kinds.js'
import type { ApiObject } from '../../kube/object.js'

const secretType = 'servicebinding.io/parley'

export interface BindingSecret {
  readonly name: string
  readonly namespace: string
  readonly owner: ApiObject
  /** `<namespace>/<name>` of the tenant that it lets into. */
  readonly tenant: string
  readonly publicUrl: PublicUrl | undefined
  readonly record: KeysRecord
  readonly data: ReadonlyMap<string, string>
  /** What the owner wants on it; ours wins. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  readonly annotations?: Readonly<Record<string, string>> | undefined
}

const generated: SecretRole = 'generated'

export function bindingSecret(secret: BindingSecret): Desired {
  const { apiVersion, kind, metadata } = secret.owner
  const { publicUrl, tenant } = secret
  const address = publicUrl && { uri: publicUrl.baseOf(tenant), host: publicUrl.host, port: publicUrl.port }
  const data = {
    type: 'parley',
    provider: 'parley.chat',
    tenant,
    ...address,
    ...Object.fromEntries(secret.data),
  }
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: secret.name,
      namespace: secret.namespace,
      labels: {
        ...secret.labels,
        'app.kubernetes.io/managed-by': 'parley',
        [secretLabel]: generated,
      },
      annotations: {
        ...secret.annotations,
        [ownerAnnotation]: metadata.uid,
        [keysAnnotation]: JSON.stringify(secret.record),
      },
      // Goes with its owner; and whoever deletes the owner need not wait for it (OpenShift asks for rights on finalizers otherwise).
      ownerReferences: [
        {
          apiVersion,
          kind,
          name: metadata.name,
          uid: metadata.uid,
          controller: true,
          blockOwnerDeletion: false,
        },
      ],
    },
    type: secretType,
    data: Object.fromEntries(
      Object.entries(data).map(([name, text]) => [name, Buffer.from(text).toString('base64')]),
    ),
  }
}

/**
 * `ours`: made for this very owner. `predecessors`: made for an owner that is gone, so that it may go as well. `foreign`: anybody else's,
 * which is never touched.
 */
export function whoseSecret(secret: ApiObject, owner: ApiObject): 'ours' | 'predecessors' | 'foreign' {
  const { annotations, ownerReferences } = secret.metadata
  const reference = ownerReferences.find(({ controller }) => controller)
  // Either is enough, and the label is not asked for: what people took off is put back.
  if ([annotations[ownerAnnotation], reference?.uid].includes(owner.metadata.uid)) return 'ours'
  return reference?.kind === owner.kind && reference.name === owner.metadata.name ? 'predecessors' : 'foreign'
}

const SecretData = z.looseObject({ data: z.record(z.string(), z.string()).default({}) })

/** Bytes by name. */
export function secretBytes(secret: ApiObject | undefined): Map<string, Buffer> {
  if (!secret) return new Map()
  const { data } = SecretData.parse(secret)
  return new Map(Object.entries(data).map(([name, text]) => [name, Buffer.from(text, 'base64')]))
}

export function secretTexts(secret: ApiObject | undefined): Map<string, string> {
  return new Map([...secretBytes(secret)].map(([name, bytes]) => [name, bytes.toString()]))
}
