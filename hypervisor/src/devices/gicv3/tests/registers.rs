use super::*;

#[test]
fn distributor_tells_what_it_is() {
    let gic = VirtualGic::new(2, 4);
    assert_eq!(gic.distributor_read(CTLR, 4), 0x50, "ARE and DS");
    let _ = gic.distributor_write(CTLR, 4, 0xffff_ffff);
    assert_eq!(gic.distributor_read(CTLR, 4), 0x53, "no RWP, nothing else");
    assert_eq!(
        gic.distributor_read(4, 4),
        0x0248_0002,
        "96 INTIDs of 10 bits, No1N, no LPIs"
    );
    assert_eq!(gic.distributor_read(8, 4) & 0xfff, 0x43b);
    assert_eq!(gic.distributor_read(0xffe8, 4), 0x3b);
}

#[test]
fn redistributors_tell_where_they_are() {
    let gic = VirtualGic::new(2, 4);
    assert_eq!(gic.redistributor_read(0, 8, 8), 0);
    assert_eq!(gic.redistributor_read(1, 8, 8), 0x0000_0001_0000_0110);
    assert_eq!(gic.redistributor_read(1, 8, 4), 0x110);
    assert_eq!(gic.redistributor_read(1, 0xc, 4), 1);
    assert_eq!(gic.redistributor_read(0, 0xffe8, 4), 0x3b);
    assert_eq!(gic.redistributor_read(0, 0, 4), 0);
}

#[test]
fn waking_up_a_redistributor_wakes_its_children() {
    let gic = VirtualGic::new(2, 4);
    assert_eq!(gic.redistributor_read(1, 0x14, 4), 6);
    let _ = gic.redistributor_write(1, 0x14, 4, 0);
    assert_eq!(gic.redistributor_read(1, 0x14, 4), 0);
    assert_eq!(gic.redistributor_read(0, 0x14, 4), 6);
    let _ = gic.redistributor_write(1, 0x14, 4, 2);
    assert_eq!(gic.redistributor_read(1, 0x14, 4), 6);
}

#[test]
fn bits_are_set_and_cleared() {
    let gic = VirtualGic::new(1, 4);
    for (set, clear) in [
        (ISENABLER, ICENABLER),
        (ISPENDR, ICPENDR),
        (ISACTIVER, ICACTIVER),
    ] {
        let _ = gic.distributor_write(set + 8, 4, 0xf0f);
        let _ = gic.distributor_write(clear + 8, 4, 0x00f);
        assert_eq!(gic.distributor_read(set + 8, 4), 0xf00);
        assert_eq!(gic.distributor_read(clear + 8, 4), 0xf00);
        assert_eq!(gic.distributor_read(set + 4, 4), 0);
        let _ = gic.redistributor_write(0, SGI_FRAME + set, 4, 0x8000_0001);
        let _ = gic.redistributor_write(0, SGI_FRAME + clear, 4, 1);
        assert_eq!(gic.redistributor_read(0, SGI_FRAME + set, 4), 0x8000_0000);
    }
}

#[test]
fn groups_are_written_as_words() {
    let gic = VirtualGic::new(1, 4);
    let _ = gic.distributor_write(IGROUPR + 4, 4, 0xffff_ffff);
    let _ = gic.distributor_write(IGROUPR + 4, 4, 0x1234_5678);
    assert_eq!(gic.distributor_read(IGROUPR + 4, 4), 0x1234_5678);
    assert_eq!(gic.distributor_read(IGROUPR + 8, 4), 0);
}

#[test]
fn private_interrupts_are_not_in_the_distributor() {
    let gic = VirtualGic::new(1, 4);
    for offset in [IGROUPR, ISENABLER, ISPENDR, ISACTIVER, IPRIORITYR, ICFGR] {
        let _ = gic.distributor_write(offset, 4, 0xffff_ffff);
        assert_eq!(gic.distributor_read(offset, 4), 0, "{offset:#x}");
    }
}

#[test]
fn interrupts_beyond_the_last_read_as_zero() {
    let gic = VirtualGic::new(1, 4);
    for offset in [
        ISENABLER + 12,
        IPRIORITYR + 96,
        ICFGR + 24,
        IROUTER + 8 * 96,
        IROUTER + 8 * 31,
    ] {
        let _ = gic.distributor_write(offset, 4, 0xffff_ffff);
        assert_eq!(gic.distributor_read(offset, 4), 0, "{offset:#x}");
        let _ = gic.redistributor_write(0, SGI_FRAME + offset, 4, 0xffff_ffff);
        assert_eq!(
            gic.redistributor_read(0, SGI_FRAME + offset, 4),
            0,
            "{offset:#x}"
        );
    }
}

#[test]
fn priorities_are_bytes_of_five_bits() {
    let gic = VirtualGic::new(1, 4);
    let _ = gic.distributor_write(IPRIORITYR + 32, 4, 0xff80_40a7);
    assert_eq!(gic.distributor_read(IPRIORITYR + 32, 4), 0xf880_40a0);
    let _ = gic.distributor_write(IPRIORITYR + 33, 1, 0x20);
    assert_eq!(gic.distributor_read(IPRIORITYR + 33, 1), 0x20);
    assert_eq!(gic.distributor_read(IPRIORITYR + 32, 4), 0xf880_20a0);
    let _ = gic.redistributor_write(0, SGI_FRAME + IPRIORITYR + 27, 1, 0x30);
    assert_eq!(
        gic.redistributor_read(0, SGI_FRAME + IPRIORITYR + 24, 4),
        0x3000_0000
    );
}

#[test]
fn edge_or_level_can_be_chosen_but_for_sgis() {
    let gic = VirtualGic::new(1, 4);
    let _ = gic.distributor_write(ICFGR + 8, 4, 0x8000_000b);
    assert_eq!(gic.distributor_read(ICFGR + 8, 4), 0x8000_000a);
    let _ = gic.redistributor_write(0, SGI_FRAME + ICFGR, 4, 0);
    assert_eq!(gic.redistributor_read(0, SGI_FRAME + ICFGR, 4), 0xaaaa_aaaa);
    let _ = gic.redistributor_write(0, SGI_FRAME + ICFGR + 4, 4, 0x2);
    assert_eq!(gic.redistributor_read(0, SGI_FRAME + ICFGR + 4, 4), 0x2);
}

#[test]
fn routes_are_read_and_written_whole_and_in_halves() {
    let gic = VirtualGic::new(1, 4);
    let _ = gic.distributor_write(IROUTER + 8 * 40, 8, u64::MAX);
    assert_eq!(gic.distributor_read(IROUTER + 8 * 40, 8), 0xff_00ff_ffff);
    let _ = gic.distributor_write(IROUTER + 8 * 40, 4, 3);
    assert_eq!(gic.distributor_read(IROUTER + 8 * 40, 4), 3);
    assert_eq!(gic.distributor_read(IROUTER + 8 * 40 + 4, 4), 0xff);
}

#[test]
fn odd_sizes_and_offsets_are_ignored() {
    let gic = VirtualGic::new(1, 4);
    for (offset, bytes) in [
        (ISENABLER + 4, 1),
        (ISENABLER + 5, 4),
        (ISENABLER + 4, 8),
        (IROUTER + 8 * 32 + 4, 8),
        (CTLR, 8),
        (0xfff, 1),
        (IPRIORITYR + 32, 2),
    ] {
        let _ = gic.distributor_write(offset, bytes, u64::MAX);
        assert_eq!(
            gic.distributor_read(offset, bytes),
            0,
            "{offset:#x} {bytes}"
        );
    }
    assert_eq!(gic.distributor_read(ISENABLER + 4, 4), 0);
}
