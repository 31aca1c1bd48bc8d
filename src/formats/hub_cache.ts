// The cache directory of Hugging Face's own tools, so that what Python downloaded is found here and the other
// way round. A model's folder `models--owner--name` holds `blobs/` (files by checksum), `snapshots/<commit>/`
// (links to them by name) and `refs/` (the commit that a branch or tag was at).

import { setTimeout as delay } from "node:timers/promises";

/** A model that cannot be had from the Hub, or not from its cache, and what would help. */
export class HubError extends Error {
	/** The class's name, for printing. */
	override name = "HubError";
	/** The model's name. */
	readonly model: string;
	/** Whether the Hub could not be asked at all, so that what is cached will have to do. */
	readonly unreachable: boolean;

	/** Says in a sentence that `model` cannot be had because of `problem`. */
	constructor(
		model: string,
		problem: string,
		{ unreachable = false, ...options }: ErrorOptions & { unreachable?: boolean } = {},
	) {
		super(`Cannot get the model "${model}": ${problem}`, options);
		this.model = model;
		this.unreachable = unreachable;
	}
}

/** A file of a model as the Hub lists it. */
export interface HubFile {
	/** Its name in the model, with folders. */
	path: string;
	/** Its length in bytes. */
	size: number;
	/** Its checksum: 64 hexadecimal digits of SHA-256, or 40 of git's SHA-1. The name of its blob. */
	checksum: string;
}

/** Whether a revision is a whole commit, which never changes. */
export function isCommit(revision: string): boolean {
	return /^[0-9a-f]{40}$/.test(revision);
}

/** Whether a path stays below the folder that it is relative to, on any system. */
export function isRelative(path: string): boolean {
	return /^[^/\\:\0]+(\/[^/\\:\0]+)*$/.test(path) && !/(^|\/)\.\.?(\/|$)/.test(path);
}

/** The folder of one model in the cache directory. */
export class HubCache {
	/** The cache directory. */
	readonly root: string;
	/** The model's name. */
	readonly model: string;
	readonly #name: string;

	/** Names a folder; nothing is read or made. */
	constructor(root: string, model: string) {
		this.root = root;
		this.model = model;
		this.#name = `models--${model.replaceAll("/", "--")}`;
	}

	/** The commit that a branch or tag was at when it was last asked for. */
	commit(revision: string): string | undefined {
		if (isCommit(revision)) return revision;
		try {
			const text = Deno.readTextFileSync(`${this.root}/${this.#name}/refs/${revision}`).trim();
			return isCommit(text) ? text : undefined;
		} catch (error) {
			return this.#absent(error);
		}
	}

	/** Notes the commit that a branch or tag is at. */
	setCommit(revision: string, commit: string): void {
		if (revision === commit || this.commit(revision) === commit) return;
		const at = revision.lastIndexOf("/") + 1;
		const folder = this.#directory(this.#name, "refs", revision.slice(0, at));
		this.#replace(
			`${folder}/${revision.slice(at)}`,
			(path) => Deno.writeTextFileSync(path, commit, { createNew: true }),
		);
	}

	/** The folder with a commit's files by name. */
	snapshot(commit: string): string {
		return `${this.root}/${this.#name}/snapshots/${commit}`;
	}

	/** The names of the files at the top of a commit's folder. */
	names(commit: string): string[] {
		try {
			return [...Deno.readDirSync(this.snapshot(commit))].map(({ name }) => name);
		} catch (error) {
			return this.#absent(error) ?? [];
		}
	}

	/**
	 * The path of a commit's file if it is there.
	 *
	 * @throws {HubError} if it is a link to outside of the cache, or no file
	 */
	find(commit: string, path: string): string | undefined {
		const found = `${this.snapshot(commit)}/${path}`;
		try {
			const real = this.#inside(found);
			if (Deno.statSync(real).isFile) return found;
		} catch (error) {
			return this.#absent(error);
		}
		throw new HubError(this.model, `"${found}" is not a file; remove it`);
	}

	/** Where a file is kept by its checksum, in a folder that exists. */
	blob({ checksum }: HubFile): string {
		return `${this.#directory(this.#name, "blobs")}/${checksum}`;
	}

	/**
	 * Gives a commit's file its name: a link to its blob. Where Deno may not make symbolic links (that takes
	 * permission to read and write everywhere) it is a hard link, which Python's tools take as well.
	 */
	link(commit: string, file: HubFile): void {
		const at = file.path.lastIndexOf("/") + 1, folders = file.path.slice(0, at);
		const folder = this.#directory(this.#name, "snapshots", commit, folders);
		const up = "../".repeat(1 + file.path.split("/").length);
		this.#replace(`${folder}/${file.path.slice(at)}`, (path) => {
			try {
				Deno.symlinkSync(`${up}blobs/${file.checksum}`, path);
			} catch {
				Deno.linkSync(this.blob(file), path);
			}
		});
	}

	/**
	 * Waits until no other process downloads the file, by the lock that Python's tools take for it.
	 *
	 * @returns lets go of it when disposed of; its file stays, as a waiting process may have it open
	 */
	async lock({ checksum }: HubFile, signal?: AbortSignal): Promise<Disposable> {
		const path = `${this.#directory(".locks", this.#name)}/${checksum}.lock`;
		this.refuseLink(path);
		const file = Deno.openSync(path, { write: true, create: true });
		try {
			while (!await file.tryLock(true)) await delay(100, undefined, signal && { signal });
		} catch (error) {
			file.close();
			throw error;
		}
		return file;
	}

	/** Throws if `path` is a symbolic link, through which writing would change another file. */
	refuseLink(path: string): void {
		try {
			if (!Deno.lstatSync(path).isSymlink) return;
		} catch (error) {
			if (error instanceof Deno.errors.NotFound) return;
			throw error;
		}
		throw new HubError(this.model, `"${path}" is a link where a file is to be written; remove it`);
	}

	/** Makes directories below the cache directory, none of which may lead out of it. */
	#directory(...names: string[]): string {
		Deno.mkdirSync(this.root, { recursive: true });
		let path = this.root;
		for (const name of names.flatMap((name) => name.split("/")).filter(Boolean)) {
			path += `/${name}`;
			try {
				Deno.mkdirSync(path);
			} catch (error) {
				if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
			}
			this.#inside(path);
		}
		return path;
	}

	/** What a path stands for once links are followed. */
	#inside(path: string): string {
		const real = Deno.realPathSync(path), root = Deno.realPathSync(this.root);
		if (real.startsWith(`${root}/`)) return real;
		throw new HubError(
			this.model,
			`"${path}" leads to "${real}", outside of the cache directory "${this.root}"; ` +
				"remove the link, or set HF_HUB_CACHE to where the models are",
		);
	}

	/** Makes a file aside and renames it, so that others see the old one or the new one. */
	#replace(path: string, make: (temporary: string) => void): void {
		const temporary = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
		try {
			make(temporary);
			Deno.renameSync(temporary, path);
		} finally { // also after renaming: a hard link that is renamed to its own file stays
			try {
				Deno.removeSync(temporary);
			} catch { /* renamed */ }
		}
	}

	/** Undefined for what does not exist; throws what else went wrong. */
	#absent(error: unknown): undefined {
		if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return;
		throw error;
	}
}
