// The references of each kind to other objects. The schemas here are loose, because a change of a referenced
// object must reach its dependants even while their own spec is not valid.
import { z } from 'zod'
import { credentialSecretName, tenantSecretName } from '../compile/secret-names.js'
import { keyOf, type ApiObject } from '../kube/object.js'

const Named = z.looseObject({ name: z.string() })

const Tenant = z.looseObject({
  spec: z.looseObject({
    planRef: Named.optional().catch(undefined),
    hostnames: z.array(z.string()).default([]).catch([]),
    auth: z
      .array(z.looseObject({ keyRef: Named.optional().catch(undefined) }))
      .default([])
      .catch([]),
    credentials: z.looseObject({ secretName: z.string().optional() }).optional().catch(undefined),
  }),
})

const Credential = z.looseObject({
  spec: z.looseObject({
    tenantRef: Named.optional().catch(undefined),
    secretName: z.string().optional().catch(undefined),
    importSecretRef: Named.optional().catch(undefined),
  }),
})

/** Returns the name of the plan of a ChatTenant, or an empty list. */
export function planOf(tenant: ApiObject): string[] {
  const name = Tenant.safeParse(tenant).data?.spec.planRef?.name
  return name === undefined ? [] : [name]
}

export function hostnamesOf(tenant: ApiObject): string[] {
  return Tenant.safeParse(tenant).data?.spec.hostnames ?? []
}

/**
 * Returns the keys (`<namespace>/<name>`) of the Secrets of a ChatTenant: the generated one and those that it
 * reads.
 */
export function secretsOfTenant(tenant: ApiObject): string[] {
  const spec = Tenant.safeParse(tenant).data?.spec
  const { name, namespace } = tenant.metadata
  const generated = spec?.credentials?.secretName ?? tenantSecretName(name)
  const read = spec?.auth.flatMap(({ keyRef }) => keyRef?.name ?? []) ?? []
  return [...new Set([generated, ...read])].map((secret) => keyOf({ namespace, name: secret }))
}

/** Returns the key (`<namespace>/<name>`) of the tenant of a ChatCredential, or an empty list. */
export function tenantOf(credential: ApiObject): string[] {
  const name = Credential.safeParse(credential).data?.spec.tenantRef?.name
  return name === undefined ? [] : [keyOf({ namespace: credential.metadata.namespace, name })]
}

/** Returns the key (`<namespace>/<name>`) of the Secret that a ChatCredential generates or imports. */
export function secretsOfCredential(credential: ApiObject): string[] {
  const spec = Credential.safeParse(credential).data?.spec
  const { name, namespace } = credential.metadata
  const secret = spec?.importSecretRef?.name ?? spec?.secretName ?? credentialSecretName(name)
  return [keyOf({ namespace, name: secret })]
}

export function namespaceOfObject({ metadata }: ApiObject): string[] {
  return metadata.namespace === undefined ? [] : [metadata.namespace]
}
