// Builds the manifest of a generated Secret, and determines whether a Secret belongs to an object. The
// entries follow the Service Binding specification, so that binding tools can mount the Secret.
import { z } from 'zod'
import type { PublicUrl } from './endpoints.js'
import type { KeysRecord } from './key-rotation.js'
import type { Desired } from '../../kube/ports.js'
import { keysAnnotation, ownerAnnotation, secretLabel, type SecretRole } from '../kinds.js'
import type { ApiObject } from '../../kube/object.js'

const secretType = 'servicebinding.io/parley'

/** The content of a generated Secret. */
export interface BindingSecret {
  readonly name: string
  readonly namespace: string
  readonly owner: ApiObject
  /** `<namespace>/<name>` of the tenant that the keys are for. */
  readonly tenant: string
  readonly publicUrl: PublicUrl | undefined
  readonly record: KeysRecord
  /** The keys, by name in the Secret. */
  readonly data: ReadonlyMap<string, string>
  /** Additional labels and annotations. Parley's own labels and annotations take precedence. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  readonly annotations?: Readonly<Record<string, string>> | undefined
}

const generated: SecretRole = 'generated'

/** Returns the manifest of a generated Secret. */
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
      // The garbage collector deletes the Secret with its owner. The reference does not block the deletion of
      // the owner, because OpenShift then requires rights on finalizers.
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
 * Returns how a Secret relates to `owner`. `owned`: it was generated for this object. `predecessor`: it was
 * generated for a deleted object of the same kind and name, and may be deleted. `foreign`: it belongs to
 * something else, and must not be changed.
 */
export function secretOwnership(secret: ApiObject, owner: ApiObject): 'owned' | 'predecessor' | 'foreign' {
  const { annotations, ownerReferences } = secret.metadata
  const reference = ownerReferences.find(({ controller }) => controller)
  // Either the annotation or the owner reference is sufficient, and the label is not checked, because the
  // controller restores metadata that a user removed.
  if ([annotations[ownerAnnotation], reference?.uid].includes(owner.metadata.uid)) return 'owned'
  return reference?.kind === owner.kind && reference.name === owner.metadata.name ? 'predecessor' : 'foreign'
}

const SecretData = z.looseObject({ data: z.record(z.string(), z.string()).default({}) })

/** Returns the decoded data of a Secret, by key. Empty when `secret` is undefined. */
export function secretDataBytes(secret: ApiObject | undefined): Map<string, Buffer> {
  if (!secret) return new Map()
  const { data } = SecretData.parse(secret)
  return new Map(Object.entries(data).map(([name, text]) => [name, Buffer.from(text, 'base64')]))
}

/** Returns the data of a Secret as UTF-8 text, by key. Empty when `secret` is undefined. */
export function secretDataTexts(secret: ApiObject | undefined): Map<string, string> {
  return new Map([...secretDataBytes(secret)].map(([name, bytes]) => [name, bytes.toString()]))
}
