// Compiles all manifests of a folder. The result contains the policy of every valid tenant, and the problems
// of the other documents.
import { z } from 'zod'
import type { ManifestSet, ServedTenant } from '../catalog/files.js'
import { compileCredential } from './credential.js'
import { compileTenant, namespaceOf, tenantIdFromName } from './tenant.js'
import { tenantKey, type ApiKey, type TenantPolicy } from '../tenant/policy.js'
import type { FileProblem, Problem } from '../resources/problem.js'
import { ChatCredential } from '../resources/chat-credential.js'
import { ChatPlan } from '../resources/chat-plan.js'
import { issueProblem } from '../resources/issue.js'
import { ChatTenant } from '../resources/chat-tenant.js'
import type { ManifestDocument } from '../resources/yaml.js'
import { apiVersion, ObjectName, StringMap } from '../resources/common.js'

/** Marks a Secret whose content is public, because it is published with Parley. */
const sampleAnnotation = 'parley.chat/sample'

/** Base64 as Kubernetes reads it: white space is ignored. */
const Base64 = z
  .string()
  .regex(
    /^[A-Za-z0-9+/\s]*={0,2}\s*$/,
    'Values under "data" must be base64; write plain text under "stringData".',
  )

const Secret = z.looseObject({
  metadata: z.looseObject({
    name: ObjectName,
    namespace: z.string().optional(),
    annotations: StringMap.optional(),
  }),
  data: z.record(z.string(), Base64).default({}),
  stringData: z.record(z.string(), z.string()).default({}),
})

const Namespace = z.looseObject({
  metadata: z.looseObject({ name: ObjectName, labels: StringMap.default({}) }),
})

const Typed = z.looseObject({ apiVersion: z.string(), kind: z.string() })

const Named = z.looseObject({
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
})

/** The kinds that are read, with the version of each. Plans and namespaces have no namespace. */
const kinds: Readonly<Record<string, { readonly apiVersion: string; readonly clusterScoped?: true }>> = {
  ChatPlan: { apiVersion, clusterScoped: true },
  ChatTenant: { apiVersion },
  ChatCredential: { apiVersion },
  Secret: { apiVersion: 'v1' },
  Namespace: { apiVersion: 'v1', clusterScoped: true },
}

/**
 * Compiles all documents. If two documents describe the same resource, the first is used and the second is a
 * problem.
 */
export function compileManifests(documents: readonly ManifestDocument[]): ManifestSet {
  const reader = new ManifestReader()
  for (const document of documents) reader.read(document)
  return reader.compile()
}

class ManifestReader {
  readonly #seen = new Map<string, ManifestDocument>()
  readonly #plans = new Map<string, ChatPlan>()
  readonly #secrets = new Map<string, z.output<typeof Secret>>()
  readonly #namespaceLabels = new Map<string, Readonly<Record<string, string>>>()
  readonly #tenants: { document: ManifestDocument; resource: ChatTenant }[] = []
  readonly #credentials: { document: ManifestDocument; resource: ChatCredential }[] = []
  readonly #invalidTenants = new Set<string>()
  readonly #unparsableFiles = new Set<string>()
  readonly #problems: FileProblem[] = []

  read(document: ManifestDocument): void {
    const typed = this.#parse(Typed, document)
    if (!typed) {
      this.#unparsableFiles.add(document.file)
      return
    }
    const { kind } = typed
    const known = Object.hasOwn(kinds, kind) ? kinds[kind] : undefined
    if (known?.apiVersion !== typed.apiVersion) {
      const readable = Object.entries(kinds).map(([name, { apiVersion: version }]) => `${version} ${name}`)
      const message =
        `${typed.apiVersion} ${kind} is not one of the kinds that are read from files: ` +
        `${readable.join(', ')}.`
      this.#report(document, { path: ['kind'], reason: 'UnknownKind', message })
      return
    }

    const named = this.#parse(Named, document)
    if (!named) {
      this.#unparsableFiles.add(document.file)
      return
    }
    const { metadata } = named
    const key = known.clusterScoped ? metadata.name : `${namespaceOf({ metadata })}/${metadata.name}`
    const first = this.#seen.get(`${kind} ${key}`)
    if (first) {
      const message =
        `${kind} "${key}" is already defined in ${first.file}:${first.lineAt([])}, ` +
        'which is used. Delete or rename one of them.'
      this.#report(document, { path: ['metadata', 'name'], reason: 'DuplicateResource', message })
      return
    }
    this.#seen.set(`${kind} ${key}`, document)
    this.#keep(kind, key, document)
  }

  compile(): ManifestSet {
    const tenants = new Map<string, ServedTenant>()
    for (const { document, resource } of this.#tenants) {
      const { keys, sample } = this.#compileCredentials(resource)
      const policy = this.#compileTenant(document, resource, keys)
      if (policy) tenants.set(tenantKey(policy), { file: document.file, policy, sampleApiKey: sample })
    }
    for (const { document, resource } of this.#credentials) {
      const name = `${namespaceOf(resource)}/${resource.spec.tenantRef.name}`
      if (this.#seen.has(`ChatTenant ${name}`)) continue
      const message = `There is no ChatTenant "${name}". Create it, or name a tenant in the same namespace.`
      this.#report(document, { path: ['spec', 'tenantRef', 'name'], reason: 'TenantNotFound', message })
    }
    return {
      tenants,
      invalidTenants: this.#invalidTenants,
      unparsableFiles: this.#unparsableFiles,
      problems: this.#problems,
    }
  }

  #keep(kind: string, key: string, document: ManifestDocument): void {
    switch (kind) {
      case 'ChatPlan': {
        const plan = this.#parse(ChatPlan, document)
        if (plan) this.#plans.set(key, plan)
        return
      }
      case 'ChatTenant': {
        const resource = this.#parse(ChatTenant, document)
        if (resource) this.#tenants.push({ document, resource })
        else this.#invalidTenants.add(key)
        return
      }
      case 'ChatCredential': {
        const resource = this.#parse(ChatCredential, document)
        if (resource) this.#credentials.push({ document, resource })
        return
      }
      case 'Secret': {
        const secret = this.#parse(Secret, document)
        if (secret) this.#secrets.set(key, secret)
        return
      }
      default: {
        const namespace = this.#parse(Namespace, document)
        if (namespace) this.#namespaceLabels.set(key, namespace.metadata.labels)
      }
    }
  }

  /** Compiles the credentials of one tenant. A problem in one credential affects only its own key. */
  #compileCredentials(tenant: ChatTenant): { keys: ApiKey[]; sample: string | undefined } {
    const namespace = namespaceOf(tenant)
    const keys: ApiKey[] = []
    let sample: string | undefined
    for (const { document, resource } of this.#credentials) {
      if (namespaceOf(resource) !== namespace || resource.spec.tenantRef.name !== tenant.metadata.name)
        continue
      const value = (name: string, key: string): Uint8Array | undefined =>
        secretValue(this.#secrets.get(`${namespace}/${name}`), key)
      const compiled = compileCredential(resource, value)
      if ('reason' in compiled) {
        this.#report(document, compiled)
        continue
      }
      keys.push(compiled.key)
      const { key, name } = compiled.secret
      const secret = this.#secrets.get(`${namespace}/${name}`)
      if (isSample(secret))
        sample ??= Buffer.from(secretValue(secret, key) ?? '')
          .toString()
          .trim()
    }
    return { keys, sample }
  }

  #compileTenant(
    document: ManifestDocument,
    tenant: ChatTenant,
    apiKeys: readonly ApiKey[],
  ): TenantPolicy | undefined {
    const namespace = namespaceOf(tenant)
    const secretNamed = (name: string): z.output<typeof Secret> | undefined =>
      this.#secrets.get(`${namespace}/${name}`)
    const compiled = compileTenant({
      tenant,
      plan: this.#plans.get(tenant.spec.planRef.name),
      tenantId: tenantIdFromName(namespace, tenant.metadata.name),
      secret: (name, key) => secretValue(secretNamed(name), key),
      isSample: (name) => isSample(secretNamed(name)),
      apiKeys,
      // Kubernetes gives every namespace a label with its name.
      namespaceLabels: { ...this.#namespaceLabels.get(namespace), 'kubernetes.io/metadata.name': namespace },
    })
    if ('policy' in compiled) return compiled.policy
    for (const problem of compiled.problems) this.#report(document, problem)
    this.#invalidTenants.add(`${namespace}/${tenant.metadata.name}`)
    return undefined
  }

  #parse<Schema extends z.ZodType>(schema: Schema, document: ManifestDocument): z.output<Schema> | undefined {
    const parsed = schema.safeParse(document.value)
    if (parsed.success) return parsed.data
    for (const issue of parsed.error.issues) this.#report(document, issueProblem(issue, document.value))
    return undefined
  }

  #report(document: ManifestDocument, problem: Problem): void {
    this.#problems.push({ file: document.file, line: document.lineAt(problem.path), ...problem })
  }
}

function isSample(secret: z.output<typeof Secret> | undefined): boolean {
  return secret?.metadata.annotations?.[sampleAnnotation] === 'true'
}

/** Returns a value of a Secret. `stringData` takes precedence over `data`, as in the API server. */
function secretValue(secret: z.output<typeof Secret> | undefined, key: string): Uint8Array | undefined {
  if (!secret) return undefined
  const { data, stringData } = secret
  if (Object.hasOwn(stringData, key)) return Buffer.from(stringData[key] ?? '')
  return Object.hasOwn(data, key) ? Buffer.from(data[key] ?? '', 'base64') : undefined
}
