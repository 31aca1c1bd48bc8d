// Arithmetic of ranks as types, by tables up to rank 6. They are indexed, not computed by conditional types: so a
// tensor of known rank stays one of unknown rank (`number`) whatever its methods return.

/** `Plus1[R]`: one axis more. */
export type Plus1 = { 0: 1; 1: 2; 2: 3; 3: 4; 4: 5; 5: 6; [rank: number]: number };

/** `Minus1[R]`: one axis less. */
export type Minus1 = { 1: 0; 2: 1; 3: 2; 4: 3; 5: 4; 6: 5; [rank: number]: number };

/** `Minus[R][N]`: N axes less. */
export type Minus = {
	0: { 0: 0; [count: number]: number };
	1: { 0: 1; 1: 0; [count: number]: number };
	2: { 0: 2; 1: 1; 2: 0; [count: number]: number };
	3: { 0: 3; 1: 2; 2: 1; 3: 0; [count: number]: number };
	4: { 0: 4; 1: 3; 2: 2; 3: 1; 4: 0; [count: number]: number };
	5: { 0: 5; 1: 4; 2: 3; 3: 2; 4: 1; 5: 0; [count: number]: number };
	6: { 0: 6; 1: 5; 2: 4; 3: 3; 4: 2; 5: 1; 6: 0; [count: number]: number };
	[rank: number]: { [count: number]: number };
};

/** `MaxRank[R][S]`: the rank of two tensors broadcast together. */
export type MaxRank = {
	0: { 0: 0; 1: 1; 2: 2; 3: 3; 4: 4; 5: 5; 6: 6; [rank: number]: number };
	1: { 0: 1; 1: 1; 2: 2; 3: 3; 4: 4; 5: 5; 6: 6; [rank: number]: number };
	2: { 0: 2; 1: 2; 2: 2; 3: 3; 4: 4; 5: 5; 6: 6; [rank: number]: number };
	3: { 0: 3; 1: 3; 2: 3; 3: 3; 4: 4; 5: 5; 6: 6; [rank: number]: number };
	4: { 0: 4; 1: 4; 2: 4; 3: 4; 4: 4; 5: 5; 6: 6; [rank: number]: number };
	5: { 0: 5; 1: 5; 2: 5; 3: 5; 4: 5; 5: 5; 6: 6; [rank: number]: number };
	6: { 0: 6; 1: 6; 2: 6; 3: 6; 4: 6; 5: 6; 6: 6; [rank: number]: number };
	[rank: number]: { [rank: number]: number };
};
